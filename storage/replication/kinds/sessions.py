"""Sessions: a login is made once; its generation only grows, and its end is for good."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from storage.database import Transaction
from storage.replication.record import Combined, Key, Record, Taken, Version
from storage.sessions import MergeSession, SessionRow, SessionsRepository


class SessionKind:
    """One login."""

    name: Final = "session"
    is_of_user: Final = True

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        repository = SessionsRepository()
        found = {key: repository.find_any(tx, key[1]) for key in keys}
        return {key: _value(*each) for key, each in found.items() if each is not None}

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | Combined | None:
        if record.value is None:
            # Sessions are not deleted; the sender has wiped a user who is somebody else's now.
            return None
        theirs, their_end = _session(record)
        known = SessionsRepository().find_any(tx, record.key[1])
        if known is None:
            return Taken((MergeSession(theirs, their_end),))
        ours, our_end = known
        is_newer = present is None or present < record.version
        # Of one generation, the tokens that were issued last are good.
        ahead = theirs if (theirs.generation, is_newer) > (ours.generation, not is_newer) else ours
        ends = [end for end in (our_end, their_end) if end is not None]
        merged = (
            replace(ours, generation=ahead.generation, nonce=ahead.nonce, next_nonce=ahead.next_nonce),
            min(ends, default=None),
        )
        if merged == known and not is_newer:
            return None
        change = MergeSession(*merged)
        return Taken((change,)) if merged == (theirs, their_end) else Combined((change,))


def _value(session: SessionRow, ended_ms: int | None) -> Mapping[str, Any]:
    return {
        "device_id": session.device_id,
        "created_ms": session.created_ms,
        "generation": session.generation,
        "nonce": session.nonce,
        "next_nonce": session.next_nonce,
        "ended_ms": ended_ms,
    }


def _session(record: Record) -> tuple[SessionRow, int | None]:
    value = record.value
    user_id, session_id = record.key
    row = SessionRow(
        session_id,
        user_id,
        value["device_id"],
        value["created_ms"],
        value["generation"],
        value["nonce"],
        value["next_nonce"],
    )
    return row, value["ended_ms"]


SESSION: Final = SessionKind()
