"""Other servers' signing keys: the documents that they published, and each key that was in one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass

MAX_KEYS_OF_SERVER = 200
"""More than this are not kept: those that were valid last stay."""


@dataclass(frozen=True, slots=True)
class ServerKeyRow:
    """A public key (32 bytes). Signatures later than `valid_until_ms` do not count.

    `is_old`: its server uses it no more; `valid_until_ms` is then when that happened.
    """

    key_id: str
    verify_key: bytes
    valid_until_ms: int
    is_old: bool


@dataclass(frozen=True, slots=True)
class KeyDocumentRow:
    """A published document and when it came; `document` is JSON."""

    server_name: str
    document: bytes
    fetched_at_ms: int
    valid_until_ms: int
    key_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class StoreServerKeys(Change):
    """A server's keys became known.

    `came_directly`: from the server itself, so that what is not in it holds no more. What a notary tells may be older
    than what is there, and then only adds keys.
    """

    kind: ClassVar[str] = "server_keys"
    area: ClassVar[str] = "server_keys"

    server_name: str
    document: bytes
    fetched_at_ms: int
    valid_until_ms: int
    keys: tuple[ServerKeyRow, ...]
    came_directly: bool

    def key(self) -> tuple[str, ...]:
        return (self.server_name,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            _write_document(tx, change)


def _write_document(tx: WriteTransaction, change: StoreServerKeys) -> None:
    name = change.server_name
    digest = sha256(change.document).digest()
    known = {
        row[0]: (ServerKeyRow(row[0], bytes(row[1]), row[2], bool(row[3])), bytes(row[4]))
        for row in tx.all(
            "SELECT key_id, verify_key, valid_until, is_old, digest FROM server_keys WHERE server_name = ?",
            (name,),
        )
    }
    newest = tx.value("SELECT MAX(valid_until) FROM server_key_documents WHERE server_name = ?", (name,))
    is_newest = change.came_directly or newest is None or change.valid_until_ms > newest
    merged = _merge(known, change, digest, is_newest)
    kept = sorted(merged.values(), key=lambda entry: entry[0].valid_until_ms, reverse=True)[
        :MAX_KEYS_OF_SERVER
    ]
    tx.run("DELETE FROM server_keys WHERE server_name = ?", (name,))
    tx.many(
        "INSERT INTO server_keys (server_name, key_id, verify_key, valid_until, is_old, digest)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [
            (name, row.key_id, row.verify_key, row.valid_until_ms, int(row.is_old), document)
            for row, document in kept
        ],
    )
    tx.many(
        "INSERT INTO server_key_documents (server_name, digest, document, fetched_at, valid_until)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (server_name, digest)"
        " DO UPDATE SET fetched_at = excluded.fetched_at, valid_until = excluded.valid_until",
        [(name, digest, change.document, change.fetched_at_ms, change.valid_until_ms)],
    )
    tx.run(
        "DELETE FROM server_key_documents WHERE server_name = ? AND digest NOT IN"
        " (SELECT digest FROM server_keys WHERE server_name = ?)",
        (name, name),
    )


def _merge(
    known: Mapping[str, tuple[ServerKeyRow, bytes]], change: StoreServerKeys, digest: bytes, is_newest: bool
) -> dict[str, tuple[ServerKeyRow, bytes]]:
    merged = dict(known)
    for row in change.keys:
        if is_newest or row.key_id not in known:
            merged[row.key_id] = (row, digest)
    if change.came_directly:
        listed = {row.key_id for row in change.keys}
        for key_id in known.keys() - listed:
            row, document = known[key_id]
            # A key that its server lists no more has no say about what comes after.
            end = min(row.valid_until_ms, change.fetched_at_ms)
            merged[key_id] = (replace(row, valid_until_ms=end, is_old=True), document)
    return merged


class ServerKeysRepository:
    """Reads keys of other servers."""

    def get_of_server(self, tx: Transaction, server_name: str) -> list[ServerKeyRow]:
        rows = tx.all(
            "SELECT key_id, verify_key, valid_until, is_old FROM server_keys WHERE server_name = ?",
            (server_name,),
        )
        return [ServerKeyRow(row[0], bytes(row[1]), row[2], bool(row[3])) for row in rows]

    def get_documents(self, tx: Transaction, server_name: str) -> list[KeyDocumentRow]:
        """The documents from which a server's keys came, the newest first."""
        key_ids: dict[bytes, set[str]] = {}
        for key_id, digest in tx.all(
            "SELECT key_id, digest FROM server_keys WHERE server_name = ?", (server_name,)
        ):
            key_ids.setdefault(bytes(digest), set()).add(key_id)
        rows = tx.all(
            "SELECT digest, document, fetched_at, valid_until FROM server_key_documents"
            " WHERE server_name = ? ORDER BY fetched_at DESC, valid_until DESC",
            (server_name,),
        )
        return [
            KeyDocumentRow(
                server_name, bytes(row[1]), row[2], row[3], frozenset(key_ids.get(bytes(row[0]), ()))
            )
            for row in rows
        ]
