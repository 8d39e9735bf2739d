"""One-time keys: owned by the site that took them, until they are given out for good. Fallback keys: last writer.

What travels of a one-time key is its digest: a site cannot give out what it does not have. If a device, having lost
an answer, uploaded the same keys to two sites that did not hear of each other, the one that had them first keeps
them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.one_time_keys import (
    FALLBACK_KEY,
    FALLBACK_USED,
    ONE_TIME_KEY,
    AddOneTimeKeys,
    OneTimeKey,
    forget_old_claims,
)
from storage.replication.kinds.keys import is_deleted_device
from storage.replication.own_site import find_own_site, is_lost
from storage.replication.record import Combined, Key, Record, Taken, Version
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HoldPeerKey(Change):
    """A key is another site's to give out, and not this one's."""

    kind: ClassVar[str] = AddOneTimeKeys.kind
    area: ClassVar[str] = "keys"

    user_id: str
    device_id: str
    name: str
    digest: bytes
    site: str
    log: str

    def key(self) -> tuple[str, str]:
        return (self.user_id, self.device_id)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            names = tx.intern((change.user_id, change.site, change.log))
            of = (names[change.user_id], change.device_id.encode())
            algorithm, _, key_id = change.name.partition(":")
            _drop_own(tx, of, change.name, change.digest)
            tx.run(
                "INSERT INTO peer_one_time_keys (user_nid, device, digest, algorithm, key_id, site, log)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_nid, device, digest)"
                " DO UPDATE SET site = excluded.site, log = excluded.log",
                (
                    *of,
                    change.digest,
                    algorithm.encode(),
                    key_id.encode(),
                    names[change.site],
                    names[change.log],
                ),
            )


@dataclass(frozen=True, slots=True)
class RememberClaim(Change):
    """A key was given out by another site."""

    kind: ClassVar[str] = AddOneTimeKeys.kind
    area: ClassVar[str] = "keys"

    user_id: str
    device_id: str
    name: str
    digest: bytes

    def key(self) -> tuple[str, str]:
        return (self.user_id, self.device_id)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for position, change in changes:
            of = (tx.intern_one(change.user_id), change.device_id.encode())
            _drop_own(tx, of, change.name, change.digest)
            tx.run(
                "DELETE FROM peer_one_time_keys WHERE user_nid = ? AND device = ? AND digest = ?",
                (*of, change.digest),
            )
            tx.run(
                "INSERT INTO claimed_keys (user_nid, device, digest, position, name) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (*of, change.digest, position, change.name.encode()),
            )
        # Whoever never uploads here must not be remembered here for ever.
        for user_id, device_id in {change.key() for _, change in changes}:
            forget_old_claims(tx, user_id, device_id)


_DELETE_OWN: Final = (
    "DELETE FROM one_time_keys WHERE user_nid = ? AND device = ? AND algorithm = ? AND key_id = ?"
)


def _drop_own(tx: WriteTransaction, of: tuple[int, bytes], name: str, digest: bytes) -> None:
    """The key is not this site's to give out, if it has the very same one."""
    algorithm, _, key_id = name.partition(":")
    own = _find_own(tx, *of, algorithm, key_id)
    if own is not None and own.digest == digest:
        tx.run(_DELETE_OWN, (*of, algorithm.encode(), key_id.encode()))


def _find_own(
    tx: Transaction, user: int | None, device: bytes, algorithm: str, key_id: str
) -> OneTimeKey | None:
    json = tx.value(
        "SELECT json FROM one_time_keys WHERE user_nid = ? AND device = ? AND algorithm = ? AND key_id = ?",
        (user, device, algorithm.encode(), key_id.encode()),
    )
    return None if json is None else OneTimeKey(algorithm, key_id, json)


class OneTimeKeyKind:
    """That a key is there, and with which site; or that it was given out, which is for good."""

    name: Final = ONE_TIME_KEY
    is_of_user: Final = True

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        values: dict[Key, Any] = {}
        by_device: dict[tuple[str, str], list[Key]] = {}
        for key in keys:
            by_device.setdefault((key[0], key[1]), []).append(key)
        for device, wanted in by_device.items():
            known = _read_device(tx, *device)
            values.update((key, known[key[2]]) for key in wanted if key[2] in known)
        return values

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        user_id, device_id, hexadecimal = record.key
        value = record.value
        if value is None or is_deleted_device(tx, user_id, device_id):
            return None
        digest = bytes.fromhex(hexadecimal)
        of = (tx.name_id(user_id), device_id.encode())
        if tx.all(
            "SELECT 1 FROM claimed_keys WHERE user_nid = ? AND device = ? AND digest = ?", (*of, digest)
        ):
            return None
        if "site" not in value:
            return Taken((RememberClaim(user_id, device_id, value["name"], digest),))
        if is_lost(tx, value["site"], value["log"]) or value["site"] == find_own_site(tx):
            # What this very site would give out, and does not have: it had it before it was built anew.
            return None
        if self._is_here(tx, *of, value["name"], digest) and (present is None or present <= record.version):
            # It was there before, as far as this site can tell. The other one hears of it.
            return None
        held = HoldPeerKey(user_id, device_id, value["name"], digest, value["site"], value["log"])
        return Taken((held,))

    def _is_here(self, tx: Transaction, user: int | None, device: bytes, name: str, digest: bytes) -> bool:
        algorithm, _, key_id = name.partition(":")
        own = _find_own(tx, user, device, algorithm, key_id)
        return (own is not None and own.digest == digest) or bool(
            tx.all(
                "SELECT 1 FROM peer_one_time_keys WHERE user_nid = ? AND device = ? AND digest = ?",
                (user, device, digest),
            )
        )


def _read_device(tx: Transaction, user_id: str, device_id: str) -> dict[str, Any]:
    """The values of all records of a device, by digest."""
    of = (tx.name_id(user_id), device_id.encode())
    known: dict[str, Any] = {
        bytes(digest).hex(): {"name": "" if name is None else bytes(name).decode()}
        for digest, name in tx.all(
            "SELECT digest, name FROM claimed_keys WHERE user_nid = ? AND device = ?", of
        )
    }
    held = tx.all(
        "SELECT digest, algorithm, key_id, site, log FROM peer_one_time_keys WHERE user_nid = ? AND device = ?",
        of,
    )
    names = tx.names_of(number for row in held for number in row[3:])
    for digest, algorithm, key_id, site, log in held:
        name = f"{algorithm.decode()}:{key_id.decode()}"
        known[bytes(digest).hex()] = {"name": name, "site": names[site], "log": names[log]}
    row = tx.one("SELECT site, log FROM own_site")
    site, log = ("", "") if row is None else row
    for algorithm, key_id, json in tx.all(
        "SELECT algorithm, key_id, json FROM one_time_keys WHERE user_nid = ? AND device = ?", of
    ):
        key = OneTimeKey(algorithm.decode(), key_id.decode(), json)
        known[key.digest.hex()] = {"name": key.name, "site": site, "log": log}
    return known


@dataclass(frozen=True, slots=True)
class MergeFallbackKey(Change):
    """A fallback key as another site has it."""

    kind: ClassVar[str] = AddOneTimeKeys.kind
    area: ClassVar[str] = "keys"

    user_id: str
    device_id: str
    fallback_key: OneTimeKey
    is_used: bool

    def key(self) -> tuple[str, str]:
        return (self.user_id, self.device_id)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for position, change in changes:
            key = change.fallback_key
            tx.run(
                "INSERT INTO fallback_keys (user_nid, device, algorithm, key_id, position, used, json)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_nid, device, algorithm) DO UPDATE SET"
                " used = excluded.used, key_id = excluded.key_id, position = excluded.position, json = excluded.json",
                (
                    tx.intern_one(change.user_id),
                    change.device_id.encode(),
                    key.algorithm.encode(),
                    key.key_id.encode(),
                    position,
                    int(change.is_used),
                    key.json,
                ),
            )


def _find_fallback(
    tx: Transaction, user_id: str, device_id: str, algorithm: str
) -> tuple[OneTimeKey, bool] | None:
    row = tx.one(
        "SELECT key_id, json, used FROM fallback_keys WHERE user_nid = ? AND device = ? AND algorithm = ?",
        (tx.name_id(user_id), device_id.encode(), algorithm.encode()),
    )
    return None if row is None else (OneTimeKey(algorithm, bytes(row[0]).decode(), row[1]), bool(row[2]))


class FallbackKeyKind:
    """A device's key of last resort. Of one key, that it was used stays true."""

    name: Final = FALLBACK_KEY
    is_of_user: Final = True

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        found = {key: _find_fallback(tx, *key) for key in keys}
        return {
            key: {"key_id": each[0].key_id, "json": bytes(each[0].json).decode(), "used": each[1]}
            for key, each in found.items()
            if each is not None
        }

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | Combined | None:
        user_id, device_id, algorithm = record.key
        value = record.value
        if value is None or is_deleted_device(tx, user_id, device_id):
            return None
        theirs = OneTimeKey(algorithm, value["key_id"], value["json"].encode())
        ours = _find_fallback(tx, *record.key)
        is_newer = present is None or present < record.version
        if ours is None or ours[0] != theirs:
            if not is_newer:
                return None
            return Taken((MergeFallbackKey(user_id, device_id, theirs, value["used"] is True),))
        is_used = ours[1] or value["used"] is True
        if not is_newer and is_used == ours[1]:
            return None
        change = MergeFallbackKey(user_id, device_id, theirs, is_used)
        return Taken((change,)) if is_newer and is_used == value["used"] else Combined((change,))


class FallbackUsedKind:
    """That a fallback key was given out: a record of its own, which does not stand against a newer key."""

    name: Final = FALLBACK_USED
    is_of_user: Final = True

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        return {key: True for key in keys if _is_used(tx, key) is True}

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        if record.value is None or _is_used(tx, record.key) is not False:
            return None
        user_id, device_id, algorithm, _ = record.key
        found = _find_fallback(tx, user_id, device_id, algorithm)
        assert found is not None
        return Taken((MergeFallbackKey(user_id, device_id, found[0], True),))


def _is_used(tx: Transaction, key: Key) -> bool | None:
    """None: the key is another one by now."""
    found = _find_fallback(tx, *key[:3])
    return found[1] if found is not None and found[0].digest.hex() == key[3] else None


ONE_TIME_KEYS: Final = (OneTimeKeyKind(), FallbackKeyKind(), FallbackUsedKind())
