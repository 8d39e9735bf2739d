"""What all sites have signed of the key document, and what this one has still to sign.

Validity ends at fixed times, so each site knows the documents that are to come and signs them ahead. Each then
publishes every signature that it has: the documents are the same to the byte once the signatures have arrived.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from federation.keys.own_keys import OwnKeys
from federation.keys.site_keys import NoteKeys, SiteKeys
from storage.change import LogEntry
from storage.committer import Committer
from storage.database import start
from storage.log import Log
from storage.site_key_signatures import ForgetKeySignatures, StoreKeySignature

logger = logging.getLogger(__name__)

PERIODS_AHEAD: Final = 3
LOOK_EVERY_S: Final = 600.0


class CoSignatures:
    """Those that are known; follows the log."""

    def __init__(self, known: Mapping[tuple[int, str], str]) -> None:
        self._known = dict(known)
        self.version = 0
        """Counted up with each that comes."""

    def hear(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            change = entry.change
            if isinstance(change, StoreKeySignature):
                self._known[change.valid_until, change.key_id] = change.signature
                self.version += 1

    def find(self, valid_until: int, key_id: str) -> str | None:
        return self._known.get((valid_until, key_id))

    def forget(self, before_ms: int) -> None:
        self._known = {key: signature for key, signature in self._known.items() if key[0] >= before_ms}


class SignAhead:
    """A part: signs the documents of this period and the next ones; anew when the sites are others."""

    def __init__(
        self,
        own: OwnKeys,
        keys: SiteKeys,
        note: NoteKeys,
        signatures: CoSignatures,
        log: Log,
        committer: Committer,
        clock: Any,
    ) -> None:
        """`clock` is twisted's IReactorTime."""
        self._own = own
        self._keys = keys
        self._note = note
        self._signatures = signatures
        self._log = log
        self._committer = committer
        self._clock = clock
        self._timer: Any = None

    def start(self) -> None:
        self._log.follow(self._hear)
        self._timer = self._clock.callLater(0, self._look)

    def _hear(self, entries: Sequence[LogEntry]) -> None:
        if any(self._keys.is_about(entry) for entry in entries):
            start(self._renew(), self._failed)

    async def _renew(self) -> None:
        await self._keys.refresh()
        await self.sign()

    async def stop(self) -> None:
        self._log.unfollow(self._hear)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = self._clock.callLater(LOOK_EVERY_S, self._look)
        start(self._note_and_sign(), self._failed)

    def look_now(self) -> None:
        """The sites are others."""
        if self._timer is not None:
            start(self._note_and_sign(), self._failed)

    def _failed(self, failure: Any) -> None:
        logger.error("The key document was not signed: %s", failure.value)

    async def _note_and_sign(self) -> None:
        # The configuration may have been another one before the start.
        await self._note.note()
        await self.sign()

    async def sign(self) -> None:
        missing = [
            StoreKeySignature(valid_until, key_id, signature)
            for valid_until in self._own.next_ends(PERIODS_AHEAD)
            for key_id, signature in self._own.own_signatures(valid_until).items()
            if self._signatures.find(valid_until, key_id) != signature
        ]
        if missing:
            now_ms = int(self._clock.seconds() * 1000)
            self._signatures.forget(now_ms)
            await self._committer.commit(*missing, ForgetKeySignatures(now_ms))
