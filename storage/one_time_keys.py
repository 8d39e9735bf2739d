"""One-time keys and fallback keys: each one-time key is given out at most once.

Uploads and claims are decided inside the writing transaction, which is serialised: no two claims see the same key.

Of several sites, the one that took an upload gives its keys out. The others know that they are there (the table
peer_one_time_keys), count them, and ask that site when somebody wants one.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from functools import partial
from itertools import chain, islice
from operator import itemgetter
from typing import ClassVar, Final, Self

from storage.change import Change, Conflict
from storage.database import Transaction, WriteTransaction
from storage.device_keys import DeviceGone
from storage.engines.engine import Answer, Move
from storage.replication.record_index import RecordIndex
from synapse_like_config.lazy_dataclasses import dataclass

MAX_PER_DEVICE = 1000
"""One-time keys that a device may have on the server; clients keep 50 to 100."""
MAX_FALLBACK_ALGORITHMS = 10
_PLACES_PER_POSITION: Final = 1024
"""How many keys of one upload have a place of their own: more than a device may have."""
CLAIMED_REMEMBERED = 500
"""Of how many claims per device it is remembered that they happened."""

ONE_TIME_KEY: Final = "one_time_key"
"""The record of a one-time key: (user ID, device ID, digest in hex)."""
FALLBACK_KEY: Final = "fallback_key"
"""The record of a fallback key: (user ID, device ID, algorithm)."""
FALLBACK_USED: Final = "fallback_key.used"
"""The record that it was given out: (user ID, device ID, algorithm, digest in hex)."""

_CHUNK = 400
Pool = tuple[str, str, str]
"""User ID, device ID, algorithm: what a claim takes a key from."""
_DEVICE: Final = itemgetter(0, 1)
_Pool = tuple[int, bytes, bytes]
"""The same, as the database has it."""


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


Claimed = OneTimeKey | None
"""What a claim gave."""


class GivenKeys:
    """What all claims of one request gave."""

    def __init__(self, find: Callable[[], Sequence[Claimed]]) -> None:
        """`find` may wait for the database within the transaction; after it, it does not."""
        self._find = find

    @property
    def keys(self) -> Sequence[Claimed]:
        """For each pool its key, or None. Raises `StorageError` if the database's answer was lost: they are gone."""
        return self._find()


@dataclass(frozen=True, slots=True)
class DeviceKeyCounts:
    """What a device has left."""

    one_time: Mapping[str, int]
    """Unclaimed one-time keys by algorithm; without those of which there are none."""
    unused_fallback_types: tuple[str, ...]
    """Algorithms whose fallback key was not given out yet."""
    added: tuple[OneTimeKey, ...] = field(default=(), compare=False)
    """After an upload: the one-time keys that were new."""
    replaced_fallback: tuple[str, ...] = field(default=(), compare=False)
    """After an upload: algorithms with a new fallback key."""


@dataclass(frozen=True, slots=True)
class AddOneTimeKeys(Change):
    """A device uploaded keys. The result is its `DeviceKeyCounts`; raises `KeyExists`, `TooManyKeys`, `DeviceGone`."""

    kind: ClassVar[str] = "one_time_keys"
    area: ClassVar[str] = "keys"
    is_remembered: ClassVar[bool] = False

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
            *((ONE_TIME_KEY, (*self.key(), key.digest.hex())) for key in result.added),
            *((FALLBACK_KEY, (*self.key(), algorithm)) for algorithm in result.replaced_fallback),
        )

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[DeviceKeyCounts]:
        return [_Upload(tx, position, change).write() for position, change in changes]


@dataclass(frozen=True, slots=True)
class AddFirstOneTimeKeys(AddOneTimeKeys):
    """The same in one submission behind `SetFirstDeviceKeys` of the device, which finds out that there are none yet."""

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[DeviceKeyCounts]:
        return [_Upload(tx, position, change).write_over(_There()) for position, change in changes]


class _Upload:
    """Writes one device's upload."""

    def __init__(self, tx: WriteTransaction, position: int, change: AddOneTimeKeys) -> None:
        self._tx = tx
        self._position = position
        self._change = change
        self._of = (tx.intern_one(change.user_id), change.device_id.encode())

    def write(self) -> DeviceKeyCounts:
        there = self._read()
        if not there.is_device:
            raise DeviceGone("the device was deleted")
        return self.write_over(there)

    def write_over(self, there: "_There") -> DeviceKeyCounts:
        """`there`: what the database has of the device, which there is."""
        added = self._write_keys(there)
        self._write_fallback_keys(there)
        if sum(there.counts.values()) > MAX_PER_DEVICE or len(there.fallback_keys) > MAX_FALLBACK_ALGORITHMS:
            raise TooManyKeys("the device has too many keys")
        if len(there.claimed) > CLAIMED_REMEMBERED:
            forget_old_claims(self._tx, self._change.user_id, self._change.device_id)
        unused = sorted(algorithm for algorithm, key in there.fallback_keys.items() if not key.is_used)
        return DeviceKeyCounts(
            dict(there.counts),
            tuple(unused),
            added,
            tuple(key.algorithm for key in self._change.fallback_keys),
        )

    def _read(self) -> "_There":
        rows = self._tx.all(
            "SELECT 1, algorithm, key_id, json FROM one_time_keys WHERE user_nid = ? AND device = ?"
            " UNION ALL SELECT 2, digest, NULL, NULL FROM claimed_keys WHERE user_nid = ? AND device = ?"
            " UNION ALL SELECT 3, algorithm, key_id, digest FROM peer_one_time_keys"
            " WHERE user_nid = ? AND device = ?"
            " UNION ALL SELECT 4 + used, algorithm, key_id, json FROM fallback_keys"
            " WHERE user_nid = ? AND device = ?"
            " UNION ALL SELECT 6, NULL, NULL, NULL FROM devices WHERE user_id = ? AND device_id = ?",
            (*self._of * 4, self._change.user_id, self._change.device_id),
        )
        there = _There()
        for what, first, second, third in rows:
            match what:
                case 1:
                    there.present[first, second] = third
                    there.count(first)
                case 2:
                    there.claimed.add(first)
                case 3:
                    there.elsewhere[first, second] = third
                    there.count(first)
                case 6:
                    there.is_device = True
                case _:
                    there.fallback_keys[first.decode()] = _FallbackKey(second, third, what == 5)
        return there

    def _write_keys(self, there: "_There") -> tuple[OneTimeKey, ...]:
        fresh, added = [], []
        for key in self._change.keys:
            name = (key.algorithm.encode(), key.key_id.encode())
            if self._is_new(there, name, key):
                there.present[name] = key.json
                there.count(name[0])
                fresh.append((*name, key.json))
                added.append(key)
        if len(fresh) > MAX_PER_DEVICE:
            # Before they take places of another upload.
            raise TooManyKeys("the device has too many keys")
        first = self._position * _PLACES_PER_POSITION
        # Of the keys of one upload, those whose IDs are lower go first: clients count.
        fresh.sort(key=itemgetter(1, 0))
        self._tx.later(
            "INSERT INTO one_time_keys (place, user_nid, device, algorithm, key_id, json)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [(first + number, *self._of, *key) for number, key in enumerate(fresh)],
        )
        return tuple(added)

    def _is_new(self, there: "_There", name: tuple[bytes, bytes], key: OneTimeKey) -> bool:
        """Whether it is not there, and was not. Raises `KeyExists`."""
        old = there.present.get(name)
        if old is not None:
            if old != key.json:
                raise KeyExists(key.name)
            return False
        elsewhere = there.elsewhere.get(name)
        if elsewhere is not None:
            if elsewhere != key.digest:
                raise KeyExists(key.name)
            return False
        # "each one-time key is returned at most once": also if the client, having lost our answer, repeats itself,
        # perhaps to another site.
        return not there.claimed or key.digest not in there.claimed

    def _write_fallback_keys(self, there: "_There") -> None:
        for key in self._change.fallback_keys:
            # The same key again is no new key: it stays used.
            old = there.fallback_keys.get(key.algorithm)
            is_used = (
                old is not None and old.is_used and (old.key_id, old.json) == (key.key_id.encode(), key.json)
            )
            there.fallback_keys[key.algorithm] = _FallbackKey(key.key_id.encode(), key.json, is_used)
            self._tx.later(
                "INSERT INTO fallback_keys (user_nid, device, algorithm, key_id, position, used, json)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_nid, device, algorithm) DO UPDATE SET"
                " used = excluded.used, key_id = excluded.key_id, position = excluded.position, json = excluded.json",
                [
                    (
                        *self._of,
                        key.algorithm.encode(),
                        key.key_id.encode(),
                        self._position,
                        int(is_used),
                        key.json,
                    )
                ],
            )


@dataclass(frozen=True, slots=True)
class _FallbackKey:
    key_id: bytes
    json: bytes
    is_used: bool


@dataclass(slots=True)
class _There:
    """What the database has of a device, and what an upload adds to it."""

    is_device: bool = False
    present: dict[tuple[bytes, bytes], bytes] = field(default_factory=dict)
    """JSON by algorithm and key ID."""
    elsewhere: dict[tuple[bytes, bytes], bytes] = field(default_factory=dict)
    """Digests by algorithm and key ID: other sites give them out."""
    claimed: set[bytes] = field(default_factory=set)
    """Digests."""
    fallback_keys: dict[str, _FallbackKey] = field(default_factory=dict)
    """By algorithm."""
    counts: Counter[str] = field(default_factory=Counter)

    def count(self, algorithm: bytes) -> None:
        self.counts[algorithm.decode()] += 1


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
class ClaimOneTimeKeys(Change):
    """Somebody wants one-time keys that this site gives out: all that one request claims, with one entry in the log.

    The result are the `GivenKeys`.
    """

    kind: ClassVar[str] = "one_time_keys_claimed"
    area: ClassVar[str] = "keys"

    pools: tuple[Pool, ...]

    def key(self) -> tuple[str, ...]:
        """User ID and device ID of each device, in turn: `storage.to_device.pairs` takes them apart."""
        return tuple(chain.from_iterable(dict.fromkeys(map(_DEVICE, self.pools))))

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        assert isinstance(result, GivenKeys)
        for (user_id, device_id, algorithm), key in zip(self.pools, result.keys, strict=True):
            if key is None:
                continue
            digest = key.digest.hex()
            if key.is_fallback:
                yield FALLBACK_USED, (user_id, device_id, algorithm, digest)
            else:
                yield ONE_TIME_KEY, (user_id, device_id, digest)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[GivenKeys]:
        claims = [pool for _, change in changes for pool in change.pools]
        position = changes[-1][0]
        given = [
            cls._give(tx, position, claims[start : start + _CHUNK]) for start in range(0, len(claims), _CHUNK)
        ]
        if len(changes) == len(given) == 1:
            return given
        rest = chain.from_iterable([some.keys for some in given])
        own = [list(islice(rest, len(change.pools))) for _, change in changes]
        return [GivenKeys(partial(tuple, keys)) for keys in own]

    @classmethod
    def _give(cls, tx: WriteTransaction, position: int, claims: Sequence[Pool]) -> GivenKeys:
        return _claim(tx, position, _pools(tx, claims), len(claims))


@dataclass(frozen=True, slots=True)
class ClaimAnyKeys(ClaimOneTimeKeys):
    """The same, with the fallback key if there is no other: None if there is not even that."""

    @classmethod
    def _give(cls, tx: WriteTransaction, position: int, claims: Sequence[Pool]) -> GivenKeys:
        pools = _pools(tx, claims)
        keys = list(_claim(tx, position, pools, len(claims)).keys)
        _use_fallback_keys(tx, pools, keys)
        return GivenKeys(lambda: keys)


def _pools(tx: WriteTransaction, claims: Sequence[Pool]) -> dict[_Pool, list[int]]:
    """Which of the claims, by index, are of which pool."""
    names = tx.intern(user_id for user_id, _, _ in claims)
    pools: dict[_Pool, list[int]] = defaultdict(list)
    for index, (user_id, device_id, algorithm) in enumerate(claims):
        pools[names[user_id], device_id.encode(), algorithm.encode()].append(index)
    return pools


# "One-time keys are given out in the order that they were uploaded"
# One look into the index for each pool, and once: joined, the database would look at all its keys.
_TAKE_OLDEST: Final = Move(
    find=(
        "SELECT k.place FROM one_time_keys k WHERE k.user_nid = ? AND k.device = ? AND k.algorithm = ?"
        " ORDER BY k.place LIMIT 1"
    ),
    take="DELETE FROM one_time_keys WHERE place IN (??) RETURNING user_nid, device, algorithm, key_id, json",
    # The digest is `OneTimeKey.digest`.
    keep=(
        "INSERT INTO claimed_keys (user_nid, device, digest, position, name)"
        " SELECT user_nid, device, sha256(CAST(algorithm || ? || key_id || ? || json AS BYTEA)), ?,"
        " CAST(algorithm || ? || key_id AS BYTEA) FROM taken WHERE true ON CONFLICT DO NOTHING"
    ),
)


def _claim(
    tx: WriteTransaction, position: int, pools: Mapping[_Pool, Sequence[int]], count: int
) -> GivenKeys:
    """The oldest keys of each pool for so many claims; `position`: of the change that claims, or of the last one."""
    moved = _move_oldest(tx, position, list(pools))
    if count == len(pools):
        return GivenKeys(lambda: list(map(_taken_of(moved).get, pools)))
    keys: list[Claimed] = [None] * count
    waiting = {pool: list(indexes) for pool, indexes in pools.items()}
    while True:
        # One key of each pool at a time: hardly ever does one commit have two claims of a pool.
        taken = _taken_of(moved)
        for pool, key in taken.items():
            keys[waiting[pool].pop(0)] = key
        waiting = {pool: indexes for pool, indexes in waiting.items() if pool in taken and indexes}
        if not waiting:
            return GivenKeys(lambda: keys)
        moved = _move_oldest(tx, position, list(waiting))


def _move_oldest(tx: WriteTransaction, position: int, pools: Sequence[_Pool]) -> Answer:
    return tx.move(_TAKE_OLDEST, pools, (b":", b"\0", position, b":"))


def _taken_of(moved: Answer) -> dict[_Pool, OneTimeKey]:
    return {
        (user, device, algorithm): OneTimeKey(algorithm.decode(), key_id.decode(), json)
        for user, device, algorithm, key_id, json in moved.rows
    }


def _marks(rows: Sequence[Sequence[object]]) -> str:
    """`(?, ?), (?, ?)`: a place for each value."""
    return ", ".join(["(" + ", ".join("?" * len(rows[0])) + ")"] * len(rows))


def _use_fallback_keys(
    tx: WriteTransaction, pools: Mapping[_Pool, Sequence[int]], given: list[Claimed]
) -> None:
    """Of those that had no other."""
    wanting = [pool for pool, indexes in pools.items() if any(given[index] is None for index in indexes)]
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
        for index in pools[pool]:
            if given[index] is None:
                given[index] = keys[pool]
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
        self, tx: Transaction, wanted: Sequence[tuple[str, str, str]]
    ) -> dict[tuple[str, str, str], KeyPool]:
        """For at most 400 pools, by user ID, device ID and algorithm: those that can give a key."""
        numbers = tx.name_ids({user for user, _, _ in wanted})
        names = {
            (numbers[user], device.encode(), algorithm.encode()): (user, device, algorithm)
            for user, device, algorithm in wanted
            if user in numbers
        }
        if not names:
            return {}
        here = "user_nid = given.user_nid AND device = given.device AND algorithm = given.algorithm"
        rows = tx.all(
            f"WITH given (user_nid, device, algorithm) AS (VALUES {_marks(list(names))})"  # noqa: S608
            " SELECT given.user_nid, given.device, given.algorithm,"
            f" EXISTS (SELECT 1 FROM one_time_keys WHERE {here}),"
            f" EXISTS (SELECT 1 FROM peer_one_time_keys WHERE {here}),"
            " f.key_id, f.used, f.json FROM given LEFT JOIN fallback_keys f"
            " ON f.user_nid = given.user_nid AND f.device = given.device AND f.algorithm = given.algorithm",
            [value for pool in names for value in pool],
        )
        pools = {}
        for user, device, algorithm, is_here, is_elsewhere, key_id, used, json in rows:
            if is_here or is_elsewhere or key_id is not None:
                fallback = None if key_id is None else OneTimeKey(algorithm.decode(), key_id.decode(), json)
                pools[names[user, device, algorithm]] = KeyPool(
                    bool(is_here), fallback, bool(used), bool(is_elsewhere)
                )
        return pools
