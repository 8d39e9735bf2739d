"""Publish a device's identity keys, one-time keys and fallback keys."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from popcube_server.services.bounded_cache import BoundedCache
from popcube_server.services.errors import InvalidParam, NotAllowed, UnknownToken, WithCode
from popcube_server.services.keys.checked_keys import (
    check_device_keys,
    check_fallback_keys,
    check_one_time_keys,
)
from popcube_server.services.keys.device_key_counts import KeyCounts
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.user_rooms import UserRooms
from storage.change import Change
from storage.committer import Committed, Committer
from storage.database import Database
from storage.device_keys import (
    DeviceGone,
    DeviceKeysRepository,
    FirstKeys,
    NotFirstKeys,
    SetDeviceKeys,
    SetFirstDeviceKeys,
)
from storage.device_lists import DeviceListChanged
from storage.one_time_keys import (
    MAX_FALLBACK_ALGORITHMS,
    MAX_PER_DEVICE,
    AddFirstOneTimeKeys,
    AddOneTimeKeys,
    DeviceKeyCounts,
    KeyExists,
    OneTimeKey,
    TooManyKeys,
)

DEVICES_REMEMBERED: Final = 10_000
"""Of which it is known that they probably have keys."""
_OneTimeKeys = tuple[tuple[OneTimeKey, ...], tuple[OneTimeKey, ...]]
"""One-time keys and fallback keys."""


class UploadKeys:
    """POST /keys/upload."""

    def __init__(
        self,
        database: Database,
        committer: Committer,
        counts: KeyCounts,
        user_rooms: UserRooms,
        clashed: Callable[[], None],
        is_only_site: bool,
    ) -> None:
        """`clashed` hears of each upload that was refused because another key is there under the same ID."""
        self._database = database
        self._committer = committer
        self._counts = counts
        self._user_rooms = user_rooms
        self._is_only_site = is_only_site
        self._clashed = clashed
        self._device_keys = DeviceKeysRepository()
        self._with_keys: BoundedCache[tuple[str, str], bool] = BoundedCache(DEVICES_REMEMBERED)
        """Devices that uploaded since the start."""

    async def upload(
        self,
        requester: Requester,
        device_keys: Mapping[str, Any] | None,
        one_time_keys: Mapping[str, Any],
        fallback_keys: Mapping[str, Any],
    ) -> Mapping[str, int]:
        """How many unclaimed keys of each algorithm the device has then."""
        if len(one_time_keys) > MAX_PER_DEVICE or len(fallback_keys) > MAX_FALLBACK_ALGORITHMS:
            raise InvalidParam("There are too many keys in one request.")
        identity = None
        if device_keys is not None:
            identity = check_device_keys(device_keys, requester.user_id, requester.device_id)
        added = None
        if one_time_keys or fallback_keys:
            added = check_one_time_keys(one_time_keys), check_fallback_keys(fallback_keys)
        committed = await self._upload(requester, identity, added)
        if committed is not None and isinstance(committed.results[-1], DeviceKeyCounts):
            return committed.results[-1].one_time
        return (await self._counts.of(requester.user_id, requester.device_id)).one_time

    async def _upload(
        self, requester: Requester, identity: bytes | None, added: _OneTimeKeys | None
    ) -> Committed | None:
        """None: there was nothing to write."""
        device = (requester.user_id, requester.device_id)
        # The first upload of a device, which most are, is decided where it is written. It is tried once for each
        # device: who repeats it must not make others, whose changes are written together with it, wait each time.
        if identity is not None and self._with_keys.get(device) is None:
            self._with_keys.put(device, True)
            try:
                return await self._write_first(device, identity, added)
            except NotFirstKeys:
                pass
        changes = [] if identity is None else [*await self._identity_changes(requester, identity)]
        if added is not None:
            changes.append(AddOneTimeKeys(*device, *added))
        return await self._commit(changes) if changes else None

    async def _write_first(
        self, device: tuple[str, str], identity: bytes, added: _OneTimeKeys | None
    ) -> Committed:
        """Raises `NotFirstKeys`."""
        user_id, _ = device
        first = (SetFirstDeviceKeys(*device, identity, self._is_only_site), DeviceListChanged(user_id))
        one_time = () if added is None else (AddFirstOneTimeKeys(*device, *added),)
        with self._user_rooms.reading(user_id) as reading:
            committed = await self._commit((*first, *one_time))
        # Most who upload first keys have just registered. Whoever follows the log asks next in which rooms they are:
        # other servers there are told of the device.
        if committed.results[0] == FirstKeys(has_rooms=False):
            self._user_rooms.note_no_rooms(reading)
        return committed

    async def _identity_changes(self, requester: Requester, json: bytes) -> Sequence[Change]:
        user_id, device_id = requester.user_id, requester.device_id
        old, is_taken = await self._database.read(
            lambda tx: self._device_keys.find_before_upload(tx, user_id, device_id)
        )
        # "Servers therefore must ensure that device IDs will not collide with cross-signing public keys."
        if is_taken:
            raise NotAllowed("The device is called like one of the user's cross-signing keys.")
        if old == json:
            return ()
        return SetDeviceKeys(user_id, device_id, json, self._is_only_site), DeviceListChanged(user_id)

    async def _commit(self, changes: Sequence[Change]) -> Committed:
        try:
            return await self._committer.commit(*changes)
        except KeyExists as error:
            # A client that goes on so has lost track of its keys, or this server of what it gave out.
            self._clashed()
            # COMPAT: clients know this sentence, and throw their keys away and begin anew.
            message = f"One time key {error.name} already exists with another value."
            raise WithCode(400, "M_INVALID_PARAM", message) from error
        except TooManyKeys as error:
            raise InvalidParam("The device would have too many keys.") from error
        except DeviceGone as error:
            raise UnknownToken("The device was logged out.") from error
