"""Which entries of the log change what others know of a user's devices."""

from collections.abc import Sequence

from federation.room_dag.identifiers import domain_of
from storage.change import LogEntry
from storage.cross_signing import AddSignature, CrossSigningRepository, SetCrossSigningKeys
from storage.database import Database
from storage.device_keys import RemoveDeviceKeys, SetDeviceKeys
from storage.device_list_updates import CROSS_SIGNING, NoteDeviceChange
from storage.devices import RenameDevice


class DeviceChanges:
    """Finds them for users of this server."""

    def __init__(self, server_name: str, database: Database, are_names_shown: bool, epoch: int = 0) -> None:
        """`epoch` is that of the duty of sending; 0 on one site."""
        self._epoch = epoch
        self._server_name = server_name
        self._database = database
        self._cross_signing = CrossSigningRepository()
        self._kinds = {SetDeviceKeys.kind, RemoveDeviceKeys.kind, SetCrossSigningKeys.kind, AddSignature.kind}
        if are_names_shown:
            self._kinds.add(RenameDevice.kind)

    def concerns(self, entry: LogEntry) -> bool:
        return entry.kind in self._kinds and domain_of(entry.key[0]) == self._server_name

    async def find(self, entry: LogEntry) -> Sequence[NoteDeviceChange]:
        user_id, *rest = entry.key
        devices: Sequence[str] = ()
        match entry.kind:
            case SetCrossSigningKeys.kind:
                devices = (CROSS_SIGNING,)
            case AddSignature.kind:
                devices = await self._signed(user_id, *rest)
            case _:
                devices = rest
        return [NoteDeviceChange(user_id, device_id, entry.position, self._epoch) for device_id in devices]

    async def _signed(self, user_id: str, target: str, signer_id: str, signing_key: str) -> Sequence[str]:
        if signer_id != user_id:
            # What one user signs of another is shown to the signer only.
            return ()
        is_cross_signing = await self._database.read(
            lambda tx: self._cross_signing.has_public_key(tx, user_id, target)
        )
        return (CROSS_SIGNING,) if is_cross_signing else (target,)
