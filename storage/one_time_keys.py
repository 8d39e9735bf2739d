"""One-time keys and fallback keys: each one-time key is given out at most once.

Uploads and claims are decided inside the writing transaction, which is serialised: no two claims see the same key.

Of several sites, the one that took an upload gives its keys out. The others know that they are there (the table
peer_one_time_keys), count them, and ask that site when somebody wants one.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import ClassVar, Final, Self

from lazy_dataclasses.decorator import dataclass
from storage.change import Change, Conflict
from storage.database import Transaction, WriteTransaction
from storage.device_keys import check_device_exists
from storage.replication.record_index import RecordIndex

MAX_PER_DEVICE = 1000
"""One-time keys that a device may have on the server; clients keep 50 to 100."""
MAX_FALLBACK_ALGORITHMS = 10
CLAIMED_REMEMBERED = 500
"""Of how many claims per device it is remembered that they happened."""

ONE_TIME_KEY: Final = "one_time_key"
"""The record of a one-time key: (user ID, device ID, digest in hex)."""
FALLBACK_KEY: Final = "fallback_key"
"""The record of a fallback key: (user ID, device ID, algorithm)."""
FALLBACK_USED: Final = "fallback_key.used"
"""The record that it was given out: (user ID, device ID, algorithm, digest in hex)."""

_CHUNK = 400
# Below: a device's number and ID, and an algorithm.
_Pool = tuple[int, bytes, bytes]


class KeyExists(Conflict):
    """Another key with the same algorithm and ID is there."""

    def __init__(self, name: str) -> None:
        super().__init__(f"a different one-time key {name} exists")
        self.name = name


class TooManyKeys(Conflict):
    """The device would have more keys than it may."""


@dataclass(frozen=True, slots=True)
class OneTimeKey:
    """A one-time or fallback key; its name is `algorithm:key_id`."""

    algorithm: str
    key_id: str
    json: bytes
    """Canonical JSON: a string or an object."""
    is_fallback: bool = field(default=False, compare=False)
    """Of what a claim gave: whether others may be given the same."""

    @property
    def name(self) -> str:
        return f"{self.algorithm}:{self.key_id}"

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\0" + self.json).digest()


@dataclass(frozen=True, slots=True)
class DeviceKeyCounts:
    """What a device has left."""

    one_time: Mapping[str, int]
    """Unclaimed one-time keys by algorithm; without those of which there are none."""
    unused_fallback_types: tuple[str, ...]
    """Algorithms whose fallback key was not given out yet."""
    added: tuple[str, ...] = field(default=(), compare=False)
    """After an upload: digests (hex) of the one-time keys that were new."""
    replaced_fallback: tuple[str, ...] = field(default=(), compare=False)
    """After an upload: algorithms with a new fallback key."""


@dataclass(frozen=True, slots=True)
class AddOneTimeKeys(Change):
    """A device uploaded keys. The result is its `DeviceKeyCounts`; raises `KeyExists`, `TooManyKeys`, `DeviceGone`."""

    kind: ClassVar[str] = "one_time_keys"
    area: ClassVar[str] = "keys"

    user_id: str
    device_id: str
    keys: tuple[OneTimeKey, ...]
    fallback_keys: tuple[OneTimeKey, ...] = ()
    """At most one per algorithm."""

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.device_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        assert isinstance(result, DeviceKeyCounts)
        return (
            *((ONE_TIME_KEY, (*self.key(), digest)) for digest in result.added),
            *((FALLBACK_KEY, (*self.key(), algorithm)) for algorithm in result.replaced_fallback),
        )

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[DeviceKeyCounts]:
        return [_Upload(tx, position, change).write() for position, change in changes]


class _Upload:
    """Writes one device's upload."""

    def __init__(self, tx: WriteTransaction, position: int, change: AddOneTimeKeys) -> None:
        self._tx = tx
        self._position = position
        self._change = change
        self._of = (tx.intern_one(change.user_id), change.device_id.encode())

    def write(self) -> DeviceKeyCounts:
        check_device_exists(self._tx, self._change.user_id, self._change.device_id)
        added = self._write_keys()
        replaced = self._write_fallback_keys()
        counts = _read_counts(self._tx, *self._of)
        if (
            sum(counts.one_time.values()) > MAX_PER_DEVICE
            or len(self._fallback_algorithms()) > MAX_FALLBACK_ALGORITHMS
        ):
            raise TooManyKeys("the device has too many keys")
        return replace(counts, added=added, replaced_fallback=replaced)

    def _write_keys(self) -> tuple[str, ...]:
        if not self._change.keys:
            return ()
        tx = self._tx
        present = {
            (algorithm, key_id): json
            for algorithm, key_id, json in tx.all(
                "SELECT algorithm, key_id, json FROM one_time_keys WHERE user_nid = ? AND device = ?",
                self._of,
            )
        }
        claimed = {
            row[0]
            for row in tx.all("SELECT digest FROM claimed_keys WHERE user_nid = ? AND device = ?", self._of)
        }
        elsewhere = {
            (algorithm, key_id): digest
            for algorithm, key_id, digest in tx.all(
                "SELECT algorithm, key_id, digest FROM peer_one_time_keys WHERE user_nid = ? AND device = ?",
                self._of,
            )
        }
        rows, added = [], []
        for key in self._change.keys:
            name = (key.algorithm.encode(), key.key_id.encode())
            old = present.get(name)
            if (old is not None and old != key.json) or elsewhere.get(name, key.digest) != key.digest:
                raise KeyExists(key.name)
            # "each one-time key is returned at most once": also if the client, having lost our answer, repeats itself,
            # perhaps to another site.
            if old is None and key.digest not in claimed and name not in elsewhere:
                present[name] = key.json
                rows.append((*self._of, *name, self._position, key.json))
                added.append(key.digest.hex())
        tx.many(
            "INSERT INTO one_time_keys (user_nid, device, algorithm, key_id, position, json)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )
        if len(claimed) > CLAIMED_REMEMBERED:
            forget_old_claims(tx, self._change.user_id, self._change.device_id)
        return tuple(added)

    def _write_fallback_keys(self) -> tuple[str, ...]:
        for key in self._change.fallback_keys:
            # The same key again is no new key: it stays used.
            self._tx.run(
                "INSERT INTO fallback_keys (user_nid, device, algorithm, key_id, position, used, json)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_nid, device, algorithm) DO UPDATE SET"
                " used = CASE WHEN fallback_keys.key_id = excluded.key_id AND fallback_keys.json = excluded.json"
                " THEN fallback_keys.used ELSE 0 END,"
                " key_id = excluded.key_id, position = excluded.position, json = excluded.json",
                (*self._of, key.algorithm.encode(), key.key_id.encode(), self._position, 0, key.json),
            )
        return tuple(key.algorithm for key in self._change.fallback_keys)

    def _fallback_algorithms(self) -> list[object]:
        return [
            row[0]
            for row in self._tx.all(
                "SELECT algorithm FROM fallback_keys WHERE user_nid = ? AND device = ?", self._of
            )
        ]


def forget_old_claims(tx: WriteTransaction, user_id: str, device_id: str) -> None:
    """Of a device's keys that were given out, only the newest are remembered."""
    of = (tx.intern_one(user_id), device_id.encode())
    limit = tx.value(
        "SELECT position FROM claimed_keys WHERE user_nid = ? AND device = ?"
        " ORDER BY position DESC LIMIT 1 OFFSET ?",
        (*of, CLAIMED_REMEMBERED),
    )
    if limit is None:
        return
    gone = tx.all(
        "DELETE FROM claimed_keys WHERE user_nid = ? AND device = ? AND position <= ? RETURNING digest",
        (*of, limit),
    )
    RecordIndex().forget(tx, ONE_TIME_KEY, [(user_id, device_id, bytes(row[0]).hex()) for row in gone])


@dataclass(frozen=True, slots=True)
class ClaimOneTimeKey(Change):
    """Somebody wants a one-time key of a device that this site gives out. The result is the `OneTimeKey`, or None."""

    kind: ClassVar[str] = "one_time_keys"
    area: ClassVar[str] = "keys"

    user_id: str
    device_id: str
    algorithm: str

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.device_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        if not isinstance(result, OneTimeKey):
            return ()
        digest = result.digest.hex()
        if result.is_fallback:
            return ((FALLBACK_USED, (*self.key(), result.algorithm, digest)),)
        return ((ONE_TIME_KEY, (*self.key(), digest)),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[OneTimeKey | None]:
        results: list[OneTimeKey | None] = []
        for start in range(0, len(changes), _CHUNK):
            results += cls._give(tx, changes[start : start + _CHUNK])
        return results

    @classmethod
    def _give(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[OneTimeKey | None]:
        return _claim(tx, changes, _pools(tx, changes))


@dataclass(frozen=True, slots=True)
class ClaimKey(ClaimOneTimeKey):
    """The same, with the fallback key if there is no other: the result is None if there is not even that."""

    @classmethod
    def _give(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[OneTimeKey | None]:
        claims = _pools(tx, changes)
        results = _claim(tx, changes, claims)
        _use_fallback_keys(tx, claims, results)
        return results


def _pools(tx: WriteTransaction, changes: Sequence[tuple[int, ClaimOneTimeKey]]) -> dict[_Pool, list[int]]:
    """Which of the changes, by index, claim of which pool."""
    names = tx.intern(change.user_id for _, change in changes)
    claims: dict[_Pool, list[int]] = defaultdict(list)
    for index, (_, change) in enumerate(changes):
        claims[(names[change.user_id], change.device_id.encode(), change.algorithm.encode())].append(index)
    return claims


def _claim(
    tx: WriteTransaction,
    changes: Sequence[tuple[int, ClaimOneTimeKey]],
    claims: Mapping[_Pool, Sequence[int]],
) -> list[OneTimeKey | None]:
    results: list[OneTimeKey | None] = [None] * len(changes)
    used, remembered = [], []
    for pool, keys in _oldest(tx, claims).items():
        for index, key in zip(claims[pool], keys, strict=False):
            results[index] = key
            used.append((*pool, key.key_id.encode()))
            remembered.append((*pool[:2], key.digest, changes[index][0], key.name.encode()))
    tx.many(
        "DELETE FROM one_time_keys WHERE user_nid = ? AND device = ? AND algorithm = ? AND key_id = ?", used
    )
    tx.many(
        "INSERT INTO claimed_keys (user_nid, device, digest, position, name) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        remembered,
    )
    return results


def _oldest(tx: Transaction, claims: Mapping[_Pool, Sequence[int]]) -> dict[_Pool, list[OneTimeKey]]:
    """As many keys of each pool as are claimed, or as there are."""
    # "One-time keys are given out in the order that they were uploaded"
    rows = tx.all(
        "SELECT user_nid, device, algorithm, key_id, json FROM ("
        " SELECT user_nid, device, algorithm, key_id, json, ROW_NUMBER() OVER ("
        "  PARTITION BY user_nid, device, algorithm ORDER BY position, key_id) AS place"
        " FROM one_time_keys WHERE user_nid IN (??) AND device IN (??)) AS ranked"
        " WHERE place <= ? ORDER BY place",
        (
            list({pool[0] for pool in claims}),
            list({pool[1] for pool in claims}),
            max(len(indexes) for indexes in claims.values()),
        ),
    )
    found: dict[_Pool, list[OneTimeKey]] = defaultdict(list)
    for user, device, algorithm, key_id, json in rows:
        pool = (user, device, algorithm)
        # Users and devices were asked for as two lists: what another pair brought is left alone.
        if len(found[pool]) < len(claims.get(pool, ())):
            found[pool].append(OneTimeKey(algorithm.decode(), key_id.decode(), json))
    return found


def _use_fallback_keys(
    tx: WriteTransaction, claims: Mapping[_Pool, Sequence[int]], results: list[OneTimeKey | None]
) -> None:
    wanting = [pool for pool, indexes in claims.items() if any(results[index] is None for index in indexes)]
    if not wanting:
        return
    rows = tx.all(
        "SELECT user_nid, device, algorithm, key_id, json FROM fallback_keys"
        " WHERE user_nid IN (??) AND device IN (??)",
        (list({pool[0] for pool in wanting}), list({pool[1] for pool in wanting})),
    )
    keys = {
        (user, device, algorithm): OneTimeKey(algorithm.decode(), key_id.decode(), json, is_fallback=True)
        for user, device, algorithm, key_id, json in rows
    }
    used = [pool for pool in wanting if pool in keys]
    for pool in used:
        for index in claims[pool]:
            if results[index] is None:
                results[index] = keys[pool]
    tx.many("UPDATE fallback_keys SET used = 1 WHERE user_nid = ? AND device = ? AND algorithm = ?", used)


def _read_counts(tx: Transaction, user: int, device: bytes) -> DeviceKeyCounts:
    counts: dict[str, int] = {}
    for algorithm, count in tx.all(
        "SELECT algorithm, COUNT(*) FROM one_time_keys WHERE user_nid = ? AND device = ? GROUP BY algorithm"
        " UNION ALL SELECT algorithm, COUNT(*) FROM peer_one_time_keys WHERE user_nid = ? AND device = ?"
        " GROUP BY algorithm",
        (user, device, user, device),
    ):
        counts[algorithm.decode()] = counts.get(algorithm.decode(), 0) + count
    unused = tx.all(
        "SELECT algorithm FROM fallback_keys WHERE user_nid = ? AND device = ? AND used = 0 ORDER BY algorithm",
        (user, device),
    )
    return DeviceKeyCounts(counts, tuple(row[0].decode() for row in unused))


@dataclass(frozen=True, slots=True)
class KeyPool:
    """What a claim of one algorithm of one device would find."""

    has_one_time_key: bool
    fallback_key: OneTimeKey | None
    fallback_used: bool
    has_key_elsewhere: bool = False
    """Whether another site has a one-time key to give out."""

    @property
    def is_elsewhere_only(self) -> bool:
        return self.has_key_elsewhere and not self.has_one_time_key


class OneTimeKeysRepository:
    def get_counts(self, tx: Transaction, user_id: str, device_id: str) -> DeviceKeyCounts:
        user = tx.name_id(user_id)
        return DeviceKeyCounts({}, ()) if user is None else _read_counts(tx, user, device_id.encode())

    def find_pools(
        self, tx: Transaction, devices: Iterable[tuple[str, str]]
    ) -> dict[tuple[str, str, str], KeyPool]:
        """By user, device and algorithm, for at most 400 devices: every pool that can give a key."""
        wanted = set(devices)
        users = {number: name for name, number in tx.name_ids({user for user, _ in wanted}).items()}
        parameters = (list(users), [device.encode() for device in {device for _, device in wanted}])
        pools: dict[tuple[str, str, str], KeyPool] = {}
        for user, device, algorithm in tx.all(
            "SELECT DISTINCT user_nid, device, algorithm FROM one_time_keys"
            " WHERE user_nid IN (??) AND device IN (??)",
            parameters,
        ):
            pools[(users[user], device.decode(), algorithm.decode())] = KeyPool(True, None, False)
        for user, device, algorithm, key_id, used, json in tx.all(
            "SELECT user_nid, device, algorithm, key_id, used, json FROM fallback_keys"
            " WHERE user_nid IN (??) AND device IN (??)",
            parameters,
        ):
            key = OneTimeKey(algorithm.decode(), key_id.decode(), json)
            name = (users[user], device.decode(), key.algorithm)
            pools[name] = KeyPool(name in pools, key, bool(used))
        for user, device, algorithm in tx.all(
            "SELECT DISTINCT user_nid, device, algorithm FROM peer_one_time_keys"
            " WHERE user_nid IN (??) AND device IN (??)",
            parameters,
        ):
            name = (users[user], device.decode(), algorithm.decode())
            pools[name] = replace(pools.get(name, KeyPool(False, None, False)), has_key_elsewhere=True)
        return {name: pool for name, pool in pools.items() if name[:2] in wanted}
