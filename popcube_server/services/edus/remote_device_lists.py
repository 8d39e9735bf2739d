"""Device lists of users of other servers: fetched whole, then kept true by what their servers tell."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList

from federation.coalescing import Coalescing
from federation.transport.errors import FederationError
from popcube_server.services.edus.edu_content import BadEdu
from popcube_server.services.edus.remote_identity import RemoteIdentity, read_identity
from storage.change import Change
from storage.committer import CommitFailed, Committer
from storage.cross_signing import (
    MASTER,
    CrossSigningKey,
    CrossSigningRepository,
    KeysMovedOn,
    SetCrossSigningKeys,
)
from storage.database import Database
from storage.device_lists import DeviceListChanged
from storage.remote_devices import SetRemoteDevices

logger = logging.getLogger(__name__)

MAX_RESYNCS = 100
"""Under way in the background; of more, the lists are fetched when somebody asks for them."""


class AskDevices(Protocol):
    async def devices(self, user_id: str) -> Mapping[str, Any]:
        """Raises `FederationError`."""


class RemoteDeviceLists:
    """Fetches lists. An organisation's part: it ends what it does in the background."""

    def __init__(self, servers: AskDevices, database: Database, committer: Committer) -> None:
        self._servers = servers
        self._database = database
        self._committer = committer
        self._cross_signing = CrossSigningRepository()
        self._fetches: Coalescing[str, RemoteIdentity] = Coalescing()
        self._resyncs: dict[str, Deferred[None]] = {}

    def start(self) -> None:
        return

    async def stop(self) -> None:
        resyncs = list(self._resyncs.values())
        for resync in resyncs:
            resync.cancel()
        await DeferredList(resyncs)

    async def fetch(self, user_id: str) -> RemoteIdentity:
        """The list as the user's server has it, stored. Raises `FederationError`, `BadEdu`, `CommitFailed`."""
        return await self._fetches.run(user_id, lambda: self._fetch(user_id))

    def resync(self, user_id: str) -> None:
        """Fetch it in the background."""
        if user_id in self._resyncs or len(self._resyncs) >= MAX_RESYNCS:
            return
        resync = Deferred.fromCoroutine(self._resync(user_id))
        if not resync.called:
            self._resyncs[user_id] = resync
            resync.addBoth(lambda result: self._resyncs.pop(user_id, None) and None)

    async def _resync(self, user_id: str) -> None:
        try:
            await self.fetch(user_id)
        except (FederationError, BadEdu, CommitFailed) as error:
            # It stays untrusted, and is fetched once somebody asks for it.
            logger.info("The devices of %s could not be fetched: %s", user_id, error)

    async def _fetch(self, user_id: str) -> RemoteIdentity:
        identity = read_identity(user_id, await self._servers.devices(user_id))
        changes: list[Change] = [
            SetRemoteDevices(user_id, identity.stream_id, identity.devices),
            DeviceListChanged(user_id),
        ]
        await self.commit(user_id, identity.cross_signing, changes)
        return identity

    async def commit(
        self, user_id: str, cross_signing: Sequence[CrossSigningKey], changes: Sequence[Change]
    ) -> None:
        """Store the user's cross-signing keys, as far as they are others than before, with other changes."""
        present = await self._database.read(lambda tx: self._cross_signing.get_of_user(tx, user_id))
        new = tuple(key for key in cross_signing if present.get(key.usage) != key)
        if not new:
            await self._committer.commit(*changes)
            return
        master = present.get(MASTER)
        change = SetCrossSigningKeys(user_id, new, None if master is None else master.public_key)
        try:
            await self._committer.commit(change, *changes)
        except KeysMovedOn as error:
            raise BadEdu("the keys were changed at the same time") from error
