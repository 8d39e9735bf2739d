"""One-time keys: in order, once each, then the fallback key."""

import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from storage.change import Change
from storage.committer import Committed
from storage.database import Waiter
from storage.device_keys import DeviceGone, NotFirstKeys, RemoveDeviceKeys, SetFirstDeviceKeys
from storage.devices import DeleteDevice
from storage.engines.engine import Row
from storage.one_time_keys import (
    CLAIMED_REMEMBERED,
    MAX_PER_DEVICE,
    AddFirstOneTimeKeys,
    AddOneTimeKeys,
    ClaimAnyKeys,
    ClaimOneTimeKeys,
    DeviceKeyCounts,
    GivenKeys,
    KeyExists,
    OneTimeKey,
    OneTimeKeysRepository,
    TooManyKeys,
)
from storage.replication.kinds.one_time_keys import HoldPeerKey
from tests.storage.keys_case import ALICE, BOB, KeysMixin, one_time_key
from tests.storage.storage_case import PostgresStorage, SqliteStorage

SIGNED = "signed_curve25519"
FALLBACK = OneTimeKey(SIGNED, "AAAAFB", b'{"fallback":true}')


class OneTimeKeysTests(KeysMixin):
    def upload(
        self, *keys: OneTimeKey, fallback: tuple[OneTimeKey, ...] = (), device: str = "A1"
    ) -> DeviceKeyCounts:
        committed = self.result(self.committer.commit(AddOneTimeKeys(ALICE, device, keys, fallback)))
        counts = committed.results[0]
        assert isinstance(counts, DeviceKeyCounts)
        return counts

    def claim(self, *devices: str, user: str = ALICE, algorithm: str = SIGNED) -> list[str | None]:
        """The IDs of the keys that one request gets."""
        claim = ClaimAnyKeys(tuple((user, device, algorithm) for device in devices))
        return _key_ids(self.result(self.committer.commit(claim)))

    def counts(self, device: str = "A1") -> DeviceKeyCounts:
        return self.read(lambda tx: OneTimeKeysRepository().get_counts(tx, ALICE, device))

    def test_upload_counts_by_algorithm(self) -> None:
        counts = self.upload(one_time_key(1), one_time_key(2), one_time_key(3, "other"), fallback=(FALLBACK,))
        self.assertEqual(counts, DeviceKeyCounts({SIGNED: 2, "other": 1}, (SIGNED,)))
        self.assertEqual(self.counts(), counts)
        self.assertEqual(self.counts("A2"), DeviceKeyCounts({}, ()))

    def test_same_key_again_is_nothing_new(self) -> None:
        self.upload(one_time_key(1))
        self.assertEqual(self.upload(one_time_key(1), one_time_key(2)).one_time, {SIGNED: 2})

    def test_other_key_with_the_same_id_is_refused_and_nothing_is_written(self) -> None:
        self.upload(one_time_key(1))
        other = OneTimeKey(SIGNED, one_time_key(1).key_id, b'"other"')
        error = self.failure(
            self.committer.commit(AddOneTimeKeys(ALICE, "A1", (one_time_key(2), other))), KeyExists
        )
        assert isinstance(error, KeyExists)
        self.assertEqual(error.name, other.name)
        self.assertEqual(self.counts().one_time, {SIGNED: 1})

    def test_same_id_for_another_device_is_another_key(self) -> None:
        self.upload(one_time_key(1))
        self.upload(OneTimeKey(SIGNED, one_time_key(1).key_id, b'"other"'), device="A2")
        self.assertEqual(self.claim("A1", "A2"), ["AAAA0001", "AAAA0001"])

    def test_keys_are_given_out_in_order_of_upload(self) -> None:
        self.upload(one_time_key(9))
        self.upload(one_time_key(1))
        self.upload(one_time_key(5))
        self.assertEqual([self.claim("A1")[0] for _ in range(4)], ["AAAA0009", "AAAA0001", "AAAA0005", None])

    def test_several_claims_in_one_request_get_different_keys(self) -> None:
        self.upload(one_time_key(1), one_time_key(2))
        self.upload(one_time_key(3), device="A2")
        got = self.claim("A1", "A2", "A1", "A1", "A2", "A3")
        self.assertEqual(got, ["AAAA0001", "AAAA0003", "AAAA0002", None, None, None])

    def test_fallback_key_stays_and_becomes_used(self) -> None:
        self.upload(one_time_key(1), fallback=(FALLBACK,))
        self.assertEqual(self.claim("A1"), ["AAAA0001"])
        self.assertEqual(self.counts().unused_fallback_types, (SIGNED,))
        self.assertEqual(self.claim("A1", "A1"), ["AAAAFB", "AAAAFB"])
        self.assertEqual(self.counts(), DeviceKeyCounts({}, ()))

    def test_new_fallback_key_is_unused_and_the_old_one_again_is_not(self) -> None:
        self.upload(fallback=(FALLBACK,))
        self.claim("A1")
        self.assertEqual(self.upload(fallback=(FALLBACK,)).unused_fallback_types, ())
        other = OneTimeKey(SIGNED, "AAAAFC", b'{"fallback":true}')
        self.assertEqual(self.upload(fallback=(other,)).unused_fallback_types, (SIGNED,))
        self.assertEqual(self.claim("A1"), ["AAAAFC"])

    def test_unknown_algorithm_and_unknown_user_give_nothing(self) -> None:
        self.upload(one_time_key(1), fallback=(FALLBACK,))
        self.assertEqual(self.claim("A1", algorithm="other"), [None])
        self.assertEqual(self.claim("A1", user=BOB), [None])
        self.assertEqual(self.counts().one_time, {SIGNED: 1})

    def test_repeated_upload_does_not_bring_back_a_claimed_key(self) -> None:
        self.upload(one_time_key(1), one_time_key(2))
        self.assertEqual(self.claim("A1"), ["AAAA0001"])
        self.assertEqual(self.upload(one_time_key(1), one_time_key(2)).one_time, {SIGNED: 1})
        self.assertEqual(self.claim("A1", "A1"), ["AAAA0002", None])

    def test_memory_of_claims_is_bounded(self) -> None:
        for first in range(0, CLAIMED_REMEMBERED + 200, 100):
            self.upload(*(one_time_key(first + number) for number in range(100)))
            self.claim(*["A1"] * 100)
        self.upload(one_time_key(9999))
        self.assertEqual(self.count("claimed_keys"), CLAIMED_REMEMBERED)
        self.assertEqual(self.upload(one_time_key(CLAIMED_REMEMBERED + 199)).one_time, {SIGNED: 1})

    def first(self, device: str, *keys: OneTimeKey) -> tuple[Change, ...]:
        return SetFirstDeviceKeys(ALICE, device, b"{}"), AddFirstOneTimeKeys(ALICE, device, keys, (FALLBACK,))

    def test_keys_that_come_with_the_first_identity_keys_are_as_others(self) -> None:
        # A neighbour in the same commit, whose keys have the same names.
        with self.committer.together():
            commits = [
                self.committer.submit(self.first(name, one_time_key(2), one_time_key(1)))
                for name in ("A1", "A2")
            ]
        self.assertEqual(
            [self.result(_wait(each)).results[1] for each in commits],
            [DeviceKeyCounts({SIGNED: 2}, (SIGNED,))] * 2,
        )
        self.assertEqual(self.counts(), DeviceKeyCounts({SIGNED: 2}, (SIGNED,)))
        self.assertEqual(self.upload(one_time_key(1), one_time_key(3)).one_time, {SIGNED: 3})
        self.assertEqual(self.claim("A1", "A2", "A1", "A1"), ["AAAA0001", "AAAA0001", "AAAA0002", "AAAA0003"])

    def test_identity_keys_are_not_the_first_keys_of_a_device_that_has_others(self) -> None:
        def has_one(device: str) -> None:
            self.upload(one_time_key(1), device=device)

        def has_had_one(device: str) -> None:
            self.upload(one_time_key(1), device=device)
            self.claim(device)

        def has_fallback_key(device: str) -> None:
            self.upload(fallback=(FALLBACK,), device=device)

        def has_one_elsewhere(device: str) -> None:
            key = one_time_key(1)
            held = HoldPeerKey(ALICE, device, key.name, key.digest, "berta", "log")
            self.result(self.committer.commit(held))

        for number, prepare in enumerate((has_one, has_had_one, has_fallback_key, has_one_elsewhere)):
            device = f"D{number}"
            self.given_device(ALICE, device)
            prepare(device)
            before = self.counts(device)
            self.failure(self.committer.commit(*self.first(device, one_time_key(1))), NotFirstKeys)
            self.assertEqual(self.counts(device), before)
        self.assertEqual(self.count("device_keys"), 0)

    def test_too_many_keys_that_come_first_are_refused(self) -> None:
        keys = (one_time_key(number) for number in range(MAX_PER_DEVICE + 1))
        self.failure(self.committer.commit(*self.first("A1", *keys)), TooManyKeys)
        self.assertEqual((self.count("device_keys"), self.count("one_time_keys")), (0, 0))

    def test_too_many_keys_are_refused(self) -> None:
        self.upload(*(one_time_key(number) for number in range(MAX_PER_DEVICE)))
        self.failure(
            self.committer.commit(AddOneTimeKeys(ALICE, "A1", (one_time_key(MAX_PER_DEVICE),))), TooManyKeys
        )
        self.assertEqual(self.counts().one_time, {SIGNED: MAX_PER_DEVICE})

    def test_pools_tell_what_a_claim_would_find(self) -> None:
        self.upload(one_time_key(1))
        self.upload(fallback=(FALLBACK,), device="A2")
        pools = self.read(
            lambda tx: OneTimeKeysRepository().find_pools(
                tx, [(*device, SIGNED) for device in ((ALICE, "A1"), (ALICE, "A2"), (BOB, "A1"), (BOB, "\0"))]
            )
        )
        self.assertEqual(pools.keys(), {(ALICE, "A1", SIGNED), (ALICE, "A2", SIGNED)})
        self.assertTrue(pools[ALICE, "A1", SIGNED].has_one_time_key)
        self.assertEqual(pools[ALICE, "A2", SIGNED].fallback_key, FALLBACK)
        self.assertFalse(pools[ALICE, "A2", SIGNED].fallback_used)

    def test_removing_a_device_removes_its_keys_alone(self) -> None:
        self.upload(one_time_key(1), one_time_key(2), fallback=(FALLBACK,))
        self.claim("A1")
        self.upload(one_time_key(3), device="A2")
        self.result(self.committer.commit(DeleteDevice(ALICE, "A1"), RemoveDeviceKeys(ALICE, ("A1",))))
        self.assertEqual(self.counts(), DeviceKeyCounts({}, ()))
        self.assertEqual(self.count("claimed_keys") + self.count("fallback_keys"), 0)
        self.assertEqual(self.counts("A2").one_time, {SIGNED: 1})

    def test_device_that_is_gone_gets_no_keys(self) -> None:
        self.result(self.committer.commit(DeleteDevice(ALICE, "A1")))
        self.failure(self.committer.commit(AddOneTimeKeys(ALICE, "A1", (one_time_key(1),))), DeviceGone)
        self.assertEqual(self.count("one_time_keys"), 0)

    def test_no_interleaving_gives_a_key_twice(self) -> None:
        # Each example goes on with the same database and devices: keys never repeat in it either.
        handed_out: list[str] = []
        uploaded: list[str] = []
        moves = st.lists(
            st.one_of(
                st.integers(1, 4).map(lambda size: ("upload", size)),
                st.integers(1, 3).map(lambda size: ("claim", size)),
            ),
            max_size=12,
        )

        @settings(max_examples=25, deadline=None, database=None)
        @given_moves(moves)
        def check(steps: list[tuple[str, int]], seed: int) -> None:
            chance = random.Random(seed)
            outcomes = []
            self.hold_commits()
            for what, size in steps:
                if what == "upload":
                    keys = tuple(one_time_key(len(uploaded) + number) for number in range(size))
                    uploaded.extend(key.key_id for key in keys)
                    work = self.committer.commit(AddOneTimeKeys(ALICE, "A1", keys))
                else:
                    work = self.committer.commit(ClaimAnyKeys(((ALICE, "A1", SIGNED),) * size))
                outcomes.append((what, Deferred.fromCoroutine(work)))
                if chance.random() < 0.4:
                    self.let_commits_go()
                    self.hold_commits()
            self.let_commits_go()
            for what, outcome in outcomes:
                committed = self.successResultOf(outcome)
                if what == "claim":
                    handed_out.extend(key_id for key_id in _key_ids(committed) if key_id is not None)
            self.assertEqual(len(handed_out), len(set(handed_out)))
            left = self.counts().one_time.get(SIGNED, 0)
            self.assertEqual(len(handed_out) + left, len(uploaded))

        check()
        self.assertTrue(handed_out)

    def hold_commits(self) -> None:
        """What is submitted from here on waits, so that the submissions go into one transaction."""
        self._gate: Deferred[None] = Deferred()
        gate, run = self._gate, self.run_write
        self.database._run_write = lambda function: gate.addCallback(lambda _: run(function))

    def let_commits_go(self) -> None:
        self.database._run_write = self.run_write
        self._gate.callback(None)

    def setUp(self) -> None:
        super().setUp()
        self.run_write = self.database._run_write


def given_moves(moves: st.SearchStrategy[list[tuple[str, int]]]):  # type: ignore[no-untyped-def]
    return given(steps=moves, seed=st.integers(0, 2**32))


class CountedAnswer:
    """Counts how often somebody goes through it."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self.reads = 0

    @property
    def rows(self) -> Sequence[Row]:
        self.reads += 1
        return self._rows


class LargeClaimTests(SynchronousTestCase):
    def test_answer_is_gone_through_once_however_many_pools_there_are(self) -> None:
        devices = [f"D{number}" for number in range(300)]
        answer = CountedAnswer([(1, device.encode(), SIGNED.encode(), b"key", b"{}") for device in devices])
        tx: Any = SimpleNamespace(intern=lambda names: dict.fromkeys(names, 1), move=lambda *_: answer)
        claim = ClaimOneTimeKeys(tuple((ALICE, device, SIGNED) for device in devices))
        (given,) = ClaimOneTimeKeys.write(tx, [(1, claim)])
        self.assertEqual(given.keys, [OneTimeKey(SIGNED, "key", b"{}")] * len(devices))
        self.assertEqual(answer.reads, 1)


async def _wait(waiter: Waiter[Committed]) -> Committed:
    return await waiter


def _key_ids(committed: Committed) -> list[str | None]:
    (given,) = committed.results
    assert isinstance(given, GivenKeys)
    return [None if key is None else key.key_id for key in given.keys]


class SqliteOneTimeKeysTests(SqliteStorage, OneTimeKeysTests, SynchronousTestCase):
    pass


class PostgresOneTimeKeysTests(PostgresStorage, OneTimeKeysTests, SynchronousTestCase):
    pass
