"""A few entries of many states, against the whole states."""

import random
from collections.abc import Mapping, Sequence

from twisted.trial.unittest import SynchronousTestCase

from storage.database import WriteTransaction
from storage.snapshots import GONE, NewSnapshot, write_snapshots
from storage.state_entries import StateEntriesRepository
from tests.storage.storage_case import PostgresStorage, SqliteStorage, StorageMixin

PAIRS = [("m.room.member", f"@user{number}") for number in range(20)] + [("m.room.history_visibility", "")]


class StateEntriesTests(StorageMixin):
    def given_states(self, count: int) -> Sequence[Mapping[tuple[str, str], str]]:
        """Snapshots 1 to `count`, each made of an earlier one; what their states are."""
        chance = random.Random(5)
        states: list[dict[tuple[str, str], str]] = [{}]

        def write(tx: WriteTransaction) -> None:
            names = tx.intern({name for pair in PAIRS for name in pair})
            for nid in range(1, count + 1):
                parent = chance.randrange(len(states)) or None
                state = dict(states[parent or 0])
                changes = {}
                for pair in chance.sample(PAIRS, 3):
                    number = (names[pair[0]], names[pair[1]])
                    if chance.random() < 0.2:
                        state.pop(pair, None)
                        changes[number] = GONE
                    else:
                        state[pair] = f"${nid}"
                        changes[number] = nid
                states.append(state)
                write_snapshots(tx, [NewSnapshot(nid, parent, changes)])
                tx.run(
                    "INSERT INTO events (nid, event_id, room, ordering, type, sender, flags, push, json)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (nid, f"${nid}", 1, nid, 1, 1, 0, 0, b"{}"),
                )

        self.database.write_now(write)
        return states

    def test_entries_are_those_of_the_whole_states(self) -> None:
        states = self.given_states(60)
        wanted = [PAIRS[3], PAIRS[-1], ("m.room.member", "@unknown"), ("m.unknown", "")]
        nids = range(1, 61)
        found = self.read(lambda tx: StateEntriesRepository().get_entries(tx, nids, wanted))
        self.assertEqual(found.keys(), set(nids))
        for nid in nids:
            expected = {pair: event for pair, event in states[nid].items() if pair in wanted}
            self.assertEqual(found[nid], expected, nid)
        some = self.read(lambda tx: StateEntriesRepository().get_entries(tx, (7, 1_000), wanted))
        self.assertEqual(some, {7: found[7]})


class SqliteStateEntriesTests(SqliteStorage, StateEntriesTests, SynchronousTestCase):
    pass


class PostgresStateEntriesTests(PostgresStorage, StateEntriesTests, SynchronousTestCase):
    pass
