"""Delete devices: their sessions end, and what other areas keep for them goes in the same commit."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from popcube_server.services.platform import Platform
from storage.change import Change
from storage.committer import Committer
from storage.devices import DeleteDevice
from storage.sessions import EndSessionsOfDevice


class DeviceCleanup(Protocol):
    """What an area keeps by device: keys, messages to it, pushers."""

    def changes_for(self, user_id: str, device_ids: Sequence[str]) -> Sequence[Change]:
        """What to commit together with the end of these devices."""


class DeleteDevices:
    """The one way that devices go."""

    def __init__(self, platform: Platform, committer: Committer, cleanups: Sequence[DeviceCleanup]) -> None:
        self._platform = platform
        self._committer = committer
        self._cleanups = tuple(cleanups)

    async def delete(self, user_id: str, device_ids: Sequence[str]) -> None:
        """Delete those of the devices that exist."""
        if device_ids:
            await self._committer.commit(*self.changes(user_id, device_ids))

    def changes(self, user_id: str, device_ids: Sequence[str]) -> list[Change]:
        """What to commit for the end of these devices, for those who commit more with it."""
        now_ms = self._platform.now_ms()
        return [
            *(EndSessionsOfDevice(user_id, device_id, now_ms) for device_id in device_ids),
            *(DeleteDevice(user_id, device_id) for device_id in device_ids),
            *self._cleaned(user_id, device_ids),
        ]

    def _cleaned(self, user_id: str, device_ids: Sequence[str]) -> Iterable[Change]:
        for cleanup in self._cleanups:
            yield from cleanup.changes_for(user_id, device_ids)
