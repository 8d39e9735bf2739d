"""Presence and typing: what was told last. Each has an owner, the site that sees it, and ends by itself."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from storage.change import Change
from storage.database import Transaction
from storage.presence import MergePresence, PresenceRepository, SetPresence
from storage.replication.kinds.last_writer import LastWriterKind
from storage.replication.own_site import find_own_log
from storage.replication.record import Key
from storage.typing_notices import PeerTyping, TypingChanged, find_typing


def _read_presence(tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
    rows = {key: PresenceRepository().find(tx, key[0]) for key in keys}
    return {
        key: {
            "state": row.state,
            "status_msg": row.status_msg,
            "last_active_ms": row.last_active_ms,
            "currently_active": row.currently_active,
        }
        for key, row in rows.items()
        if row is not None
    }


def _write_presence(tx: Transaction, key: Key, value: Any) -> Sequence[Change]:
    if value is None:
        return ()
    presence = MergePresence(
        key[0],
        value["state"],
        value["status_msg"],
        value["last_active_ms"],
        value["currently_active"] is True,
    )
    return (presence,)


def _read_typing(tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
    found = {key: find_typing(tx, *key) for key in keys}
    return {key: users for key, users in found.items() if users is not None}


def _write_typing(tx: Transaction, key: Key, value: Any) -> Sequence[Change]:
    room_id, log = key
    # Of itself each site knows best.
    return () if value is None or log == find_own_log(tx) else (PeerTyping(room_id, log, tuple(value)),)


EPHEMERAL: Final = (
    LastWriterKind(SetPresence.kind, _read_presence, _write_presence),
    LastWriterKind(TypingChanged.kind, _read_typing, _write_typing, is_of_user=False),
)
