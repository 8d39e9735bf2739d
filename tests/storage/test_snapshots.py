"""State snapshots against a plain dictionary: long chains, forks, removals, several in one transaction."""

import random

from twisted.trial.unittest import SynchronousTestCase

from storage.snapshots import GONE, NewSnapshot, SnapshotsRepository, StateNids, write_snapshots
from tests.storage.storage_case import PostgresStorage, SqliteStorage, StorageMixin


class SnapshotTests(StorageMixin):
    count = 600

    def test_any_tree_of_changes_is_read_back_as_it_was_written(self) -> None:
        chance = random.Random(5)
        states: dict[int, StateNids] = {}
        number = 0
        while number < self.count:
            batch = []
            for _ in range(chance.randint(1, 6)):
                number += 1
                parent = self._choose_parent(chance, number)
                state = {} if parent is None else dict(states[parent])
                changes = self._changes(chance, state, number)
                for pair, event in changes.items():
                    if event == GONE:
                        state.pop(pair, None)
                    else:
                        state[pair] = event
                states[number] = state
                batch.append(NewSnapshot(number, parent, changes))
            self.database.write_now(lambda tx, batch=batch: write_snapshots(tx, batch))  # type: ignore[misc]
        self.assertEqual(self.read(lambda tx: SnapshotsRepository().get_states(tx, states)), states)
        one = chance.choice(list(states))
        self.assertEqual(
            self.read(lambda tx: SnapshotsRepository().get_states(tx, (one,))), {one: states[one]}
        )

    def test_chain_is_short_and_differences_stay_small(self) -> None:
        for number in range(1, self.count + 1):
            snapshot = NewSnapshot(number, number - 1 or None, {(1, number): number})
            self.database.write_now(lambda tx, one=snapshot: write_snapshots(tx, [one]))  # type: ignore[misc]
        total = self.read(lambda tx: tx.value("SELECT SUM(LENGTH(changes)) FROM snapshots"))
        self.assertLess(int(total) // 24, self.count * self.count.bit_length())

    def _choose_parent(self, chance: random.Random, number: int) -> int | None:
        if number == 1 or chance.random() < 0.01:
            return None
        # Mostly a long chain, with forks now and then.
        return number - 1 if chance.random() < 0.9 else chance.randrange(1, number)

    def _changes(self, chance: random.Random, state: StateNids, number: int) -> StateNids:
        changes = {(chance.randint(1, 3), chance.randint(1, 20)): number for _ in range(chance.randint(0, 3))}
        if state and chance.random() < 0.3:
            changes[chance.choice(list(state))] = GONE
        return changes


class SqliteSnapshotTests(SqliteStorage, SnapshotTests, SynchronousTestCase):
    pass


class PostgresSnapshotTests(PostgresStorage, SnapshotTests, SynchronousTestCase):
    pass
