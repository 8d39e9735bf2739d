"""Cross-signing keys, and the signatures that were uploaded for keys."""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Self

from storage.change import Change, Conflict
from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from storage.engines.engine import Row
from synapse_like_config.lazy_dataclasses import dataclass

MASTER = "master"
SELF_SIGNING = "self_signing"
USER_SIGNING = "user_signing"

_NUMBERS = {MASTER: 1, SELF_SIGNING: 2, USER_SIGNING: 3}
_WORDS = {number: word for word, number in _NUMBERS.items()}

MAX_SIGNATURES_PER_KEY = 1000
"""Signatures that one signer may put on one key."""


class KeysMovedOn(Conflict):
    """The user's cross-signing keys are no longer those that the change was decided upon."""


class TooManySignatures(Conflict):
    """The signer has put too many signatures on one key."""


@dataclass(frozen=True, slots=True)
class CrossSigningKey:
    """One public key; `usage` is `master`, `self_signing` or `user_signing`."""

    usage: str
    public_key: str
    """Unpadded Base64."""
    json: bytes
    """Canonical JSON without `unsigned`."""


@dataclass(frozen=True, slots=True)
class SetCrossSigningKeys(Change):
    """A user published cross-signing keys. Raises `KeysMovedOn` if the master key is not the one expected.

    What was signed by a master key that is replaced goes with it, and so do signatures of keys that are replaced.
    """

    kind: ClassVar[str] = "cross_signing_keys"
    area: ClassVar[str] = "keys"

    user_id: str
    keys: tuple[CrossSigningKey, ...]
    """At most one for each usage."""
    expected_master: str | None
    """The public master key before, None if there was none: the decision rests on it."""

    def key(self) -> tuple[str, ...]:
        return (self.user_id,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for position, change in changes:
            user = tx.intern_one(change.user_id)
            old = _public_keys(tx, user)
            expected = None if change.expected_master is None else change.expected_master.encode()
            if old.get(MASTER) != expected:
                raise KeysMovedOn("the cross-signing keys were changed at the same time")
            new = {key.usage: key.public_key.encode() for key in change.keys}
            replaced = {
                usage for usage, public_key in new.items() if usage in old and old[usage] != public_key
            }
            if MASTER in replaced:
                replaced |= old.keys()
            _drop(tx, user, {usage: old[usage] for usage in replaced})
            _store(tx, user, position, change.keys)


@dataclass(frozen=True, slots=True)
class MergeCrossSigningKeys(Change):
    """All of a user's keys, as another site has them: what is not among them goes."""

    kind: ClassVar[str] = SetCrossSigningKeys.kind
    area: ClassVar[str] = "keys"

    user_id: str
    keys: tuple[CrossSigningKey, ...]

    def key(self) -> tuple[str, ...]:
        return (self.user_id,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for position, change in changes:
            user = tx.intern_one(change.user_id)
            old = _public_keys(tx, user)
            new = {key.usage: key.public_key.encode() for key in change.keys}
            _drop(tx, user, {usage: key for usage, key in old.items() if new.get(usage) != key})
            _store(tx, user, position, change.keys)


def _public_keys(tx: Transaction, user: int) -> dict[str, bytes]:
    rows = tx.all("SELECT usage, public_key FROM cross_signing_keys WHERE user_nid = ?", (user,))
    return {_WORDS[row[0]]: row[1] for row in rows}


def _drop(tx: WriteTransaction, user: int, public_keys: Mapping[str, bytes]) -> None:
    """With the signatures on them."""
    tx.many(
        "DELETE FROM key_signatures WHERE user_nid = ? AND target = ?",
        [(user, public_key) for public_key in public_keys.values()],
    )
    tx.many(
        "DELETE FROM cross_signing_keys WHERE user_nid = ? AND usage = ?",
        [(user, _NUMBERS[usage]) for usage in public_keys],
    )


def _store(tx: WriteTransaction, user: int, position: int, keys: Iterable[CrossSigningKey]) -> None:
    tx.many(
        "INSERT INTO cross_signing_keys (user_nid, usage, public_key, position, json) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (user_nid, usage) DO UPDATE SET public_key = excluded.public_key,"
        " position = excluded.position, json = excluded.json",
        [(user, _NUMBERS[key.usage], key.public_key.encode(), position, key.json) for key in keys],
    )


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature on a key of a user."""

    user_id: str
    """Whose key is signed."""
    target: str
    """The signed key: a device ID or a cross-signing public key."""
    signer_id: str
    signing_key: str
    """With algorithm: `ed25519:...`."""
    signature: str


@dataclass(frozen=True, slots=True)
class AddSignature(Change):
    """A checked signature. Raises `TooManySignatures`."""

    kind: ClassVar[str] = "key_signature"
    area: ClassVar[str] = "keys"

    signature: Signature

    def key(self) -> tuple[str, ...]:
        one = self.signature
        return (one.user_id, one.target, one.signer_id, one.signing_key)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        one = self.signature
        return ((self.kind, (one.signer_id, one.user_id, one.target, one.signing_key)),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for user, target, signer in write_signatures(tx, changes):
            count = tx.value(
                "SELECT COUNT(*) FROM key_signatures WHERE user_nid = ? AND target = ? AND signer_nid = ?",
                (user, target, signer),
            )
            if count > MAX_SIGNATURES_PER_KEY:
                raise TooManySignatures("there are too many signatures on this key")


@dataclass(frozen=True, slots=True)
class MergeSignature(AddSignature):
    """A signature that another site took: signatures taken apart may together be too many."""

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        write_signatures(tx, changes)


def write_signatures(
    tx: WriteTransaction, changes: Sequence[tuple[int, AddSignature]]
) -> set[tuple[int, bytes, int]]:
    """(user, target, signer) of what was signed."""
    names = tx.intern(
        name for _, change in changes for name in (change.signature.user_id, change.signature.signer_id)
    )
    newest: dict[tuple[int, bytes, int, bytes], tuple[bytes, int]] = {}
    for position, change in changes:
        one = change.signature
        at = (names[one.user_id], one.target.encode(), names[one.signer_id], one.signing_key.encode())
        newest[at] = (one.signature.encode(), position)
    tx.many(
        "INSERT INTO key_signatures (user_nid, target, signer_nid, signing_key, signature, position)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (user_nid, target, signer_nid, signing_key)"
        " DO UPDATE SET signature = excluded.signature, position = excluded.position",
        [(*at, *value) for at, value in newest.items()],
    )
    return {at[:3] for at in newest}


@dataclass(frozen=True, slots=True)
class CrossSigningRow:
    user_id: str
    key: CrossSigningKey


class CrossSigningRepository:
    def get_of_user(self, tx: Transaction, user_id: str) -> dict[str, CrossSigningKey]:
        """The user's keys by usage."""
        return {row.key.usage: row.key for row in self.get_of_users(tx, (user_id,))}

    def get_of_users(self, tx: Transaction, user_ids: Iterable[str]) -> list[CrossSigningRow]:
        users = {number: name for name, number in tx.name_ids(user_ids).items()}
        numbers = list(users)
        found = []
        for start in range(0, len(numbers), IN_LIST_LIMIT):
            rows = tx.all(
                "SELECT user_nid, usage, public_key, json FROM cross_signing_keys WHERE user_nid IN (??)",
                (numbers[start : start + IN_LIST_LIMIT],),
            )
            found += [
                CrossSigningRow(users[user], CrossSigningKey(_WORDS[usage], public_key.decode(), json))
                for user, usage, public_key, json in rows
            ]
        return found

    def find_signature(
        self, tx: Transaction, signer_id: str, user_id: str, target: str, signing_key: str
    ) -> str | None:
        value = tx.value(
            "SELECT signature FROM key_signatures"
            " WHERE user_nid = ? AND target = ? AND signer_nid = ? AND signing_key = ?",
            (tx.name_id(user_id), target.encode(), tx.name_id(signer_id), signing_key.encode()),
        )
        return None if value is None else bytes(value).decode()

    def has_public_key(self, tx: Transaction, user_id: str, public_key: str) -> bool:
        """Whether the user has a cross-signing key that is called so: no device may be."""
        user = tx.name_id(user_id)
        return user is not None and bool(
            tx.all(
                "SELECT 1 FROM cross_signing_keys WHERE user_nid = ? AND public_key = ?",
                (user, public_key.encode()),
            )
        )

    def get_own_signatures(self, tx: Transaction, user_ids: Iterable[str]) -> list[Signature]:
        """Signatures that these users put on their own keys: everybody may see them."""
        numbers = list(tx.name_ids(user_ids).values())
        found = []
        for start in range(0, len(numbers), IN_LIST_LIMIT):
            found += tx.all(
                "SELECT user_nid, target, signer_nid, signing_key, signature FROM key_signatures"
                " WHERE user_nid IN (??) AND signer_nid = user_nid",
                (numbers[start : start + IN_LIST_LIMIT],),
            )
        return _signatures(tx, found)

    def get_signed_by(self, tx: Transaction, signer_id: str) -> list[Signature]:
        """Everything that a user signed."""
        rows = tx.all(
            "SELECT user_nid, target, signer_nid, signing_key, signature FROM key_signatures WHERE signer_nid = ?",
            (tx.name_id(signer_id),),
        )
        return _signatures(tx, rows)

    def get_signatures(self, tx: Transaction, user_ids: Iterable[str], viewer_id: str) -> list[Signature]:
        """Signatures on keys of these users that the viewer may see: the users' own, and the viewer's."""
        users = tx.name_ids(user_ids)
        viewer = tx.name_id(viewer_id)
        numbers = list(users.values())
        found = []
        for start in range(0, len(numbers), IN_LIST_LIMIT):
            found += tx.all(
                "SELECT user_nid, target, signer_nid, signing_key, signature FROM key_signatures"
                " WHERE user_nid IN (??) AND (signer_nid = user_nid OR signer_nid = ?)",
                (numbers[start : start + IN_LIST_LIMIT], -1 if viewer is None else viewer),
            )
        return _signatures(tx, found)


def _signatures(tx: Transaction, rows: Sequence[Row]) -> list[Signature]:
    names = tx.names_of(number for row in rows for number in (row[0], row[2]))
    return [
        Signature(names[user], target.decode(), names[signer], signing_key.decode(), signature.decode())
        for user, target, signer, signing_key, signature in rows
    ]
