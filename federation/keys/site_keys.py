"""The keys with which the other sites of the organisation sign, and with which sites signed that are none any more."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from federation.room_dag.base64 import decode_base64, encode_base64
from federation.sites.site_peers import PeersChange, SitePeers
from storage.change import LogEntry
from storage.committer import Committer
from storage.database import Database
from storage.site_keys import NoteSiteKeys, OldSiteKey, OldSiteKeyIs, SiteKeysRepository
from synapse_like_config.keys import OldSigningKey
from synapse_like_config.sites import SitesConfig

_KINDS: Final = frozenset((NoteSiteKeys.kind, OldSiteKeyIs.kind))


class SiteKeys:
    """As they are at the moment; follows the peers and the log."""

    def __init__(self, peers: SitePeers, database: Database) -> None:
        self._peers = peers
        self._database = database
        self._repository = SiteKeysRepository()
        self._old: Sequence[OldSigningKey] = _parsed(database.read_now(self._repository.get_old))
        self.version = 0
        """Counted up with each change."""
        peers.follow(self._changed)

    def _changed(self, change: PeersChange) -> None:
        self.version += 1

    async def refresh(self) -> None:
        """Keys have become old."""
        self._old = _parsed(await self._database.read(self._repository.get_old))
        self.version += 1

    def is_about(self, entry: LogEntry) -> bool:
        return entry.kind in _KINDS

    def present(self) -> Mapping[str, bytes]:
        """By ID, the public keys of the other sites."""
        return public_keys(self._peers.config)

    def old(self) -> Sequence[OldSigningKey]:
        return self._old


def public_keys(config: SitesConfig) -> Mapping[str, bytes]:
    """Of a configuration's peers. A witness signs no events: its key is nobody's business."""
    return {peer.verify_key.key_id: peer.verify_key.key for peer in config.peers if not peer.witness}


def _parsed(keys: Sequence[OldSiteKey]) -> Sequence[OldSigningKey]:
    return [OldSigningKey(key.key_id, decode_base64(key.verify_key), key.expired_ts) for key in keys]


class NoteKeys:
    """Writes down which keys the configuration names, so that it is known which it names no more."""

    def __init__(
        self,
        peers: SitePeers,
        database: Database,
        committer: Committer,
        next_end: Callable[[], int],
    ) -> None:
        """`next_end` is when what is published now runs out: others go by it until then, whatever is published next."""
        self._peers = peers
        self._database = database
        self._committer = committer
        self._next_end = next_end
        self._repository = SiteKeysRepository()

    async def note(self) -> None:
        """On disk when it returns. Raises what the committer raises."""
        present = {key_id: encode_base64(key) for key_id, key in public_keys(self._peers.config).items()}
        if await self._database.read(self._repository.get_present) != present:
            await self._committer.commit(NoteSiteKeys(tuple(sorted(present.items())), self._next_end()))
