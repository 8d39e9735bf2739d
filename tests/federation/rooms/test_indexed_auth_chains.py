"""The index of auth chains gives what walking from event to event gives, in whatever order events were stored."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import orjson
from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.event import Event, load_event
from federation.room_dag.room_versions import get_room_rules
from federation.room_dag.state_resolution.auth_chains import WalkedAuthChains
from federation.rooms.indexed_auth_chains import IndexedAuthChains
from federation.rooms.transaction_lookup import RuleEvents, TransactionLookup
from storage.auth_chains import AuthChains, IndexAuthChains, Link, LinkCache
from storage.database import Transaction
from storage.event_numbers import EventNumbers
from storage.events import OUTLIER, REJECTED, StoreEvent
from storage.rooms import AddRoom
from tests.federation.room_dag.builders import KnownEvents
from tests.federation.rooms.engine_case import EngineMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage

ROOM = "!room:one.example"
RULES = get_room_rules("11")

Graph = Sequence[Sequence[int]]
"""For each event its auth events, which come before it."""


class IndexedAuthChainsTests(EngineMixin):
    rounds = 40

    def open(self) -> None:
        super().open()
        self.result(self.committer.commit(AddRoom(ROOM, "11")))
        self.links, self.numbers = LinkCache(10_000), EventNumbers(10_000)

    def test_whatever_the_order_the_index_gives_what_a_walk_gives(self) -> None:
        for seed in range(self.rounds):
            self.setUp()
            chance = random.Random(seed)
            graph = _graph(chance, 30)
            events = [_event(number, auth) for number, auth in enumerate(graph)]
            order = list(range(len(graph)))
            if seed % 3:
                chance.shuffle(order)
            while order:
                batch = [order.pop(0) for _ in range(min(len(order), chance.randint(1, 6)))]
                self.store(events[number] for number in batch)
                if chance.random() < 0.2:
                    self.open()
                if chance.random() < 0.3:
                    # What a reader computes meanwhile must not be kept if it is not yet the whole.
                    self.read(lambda tx: AuthChains(tx, self.links).chain(self._stored(tx)))
            self.check(events, chance, f"seed {seed}")
            self.index_what_is_missing()
            self.check(events, chance, f"seed {seed}, indexed")

    def test_index_of_a_database_from_before_it_is_made_when_it_is_read(self) -> None:
        chance = random.Random(1)
        events = [_event(number, auth) for number, auth in enumerate(_graph(chance, 40))]
        self.store(events)
        self.database.write_now(lambda tx: tx.run("DELETE FROM auth_chains"))
        self.open()
        self.check(events, chance, "unindexed")
        events.append(_event(len(events), range(len(events) - 3, len(events))))
        self.store(events[-1:])
        self.check(events, chance, "partly indexed")
        self.index_what_is_missing()
        self.assertEqual(self.read(lambda tx: tx.value("SELECT COUNT(*) FROM auth_chains")), len(events))
        self.check(events, chance, "indexed")

    def test_what_waits_for_many_events_is_left_to_readers(self) -> None:
        count = 1_200
        events = [_event(number, [number - 1] if number else []) for number in range(count)]
        self.store(events[:-1])
        self.database.write_now(lambda tx: tx.run("DELETE FROM auth_chains"))
        self.store(events[-1:])
        self.assertEqual(self.read(lambda tx: tx.value("SELECT COUNT(*) FROM auth_chains")), 0)
        self.assertEqual(len(self.read(lambda tx: self.chains(tx).chain(self._stored(tx)))), count - 1)

    def test_chain_of_any_length_is_short_to_read(self) -> None:
        count = 1_500
        events = [_event(number, [number - 1] if number else []) for number in range(count)]
        for start in range(0, count, 100):
            self.store(events[start : start + 100])
        for length in (1, 16, 17, 255, 256, 257, 1_499):
            links, chain = self.read(partial(_read_one, f"${length}"))
            self.assertLess(len(links), 50)
            self.assertEqual(len(chain), length)

    def test_many_events_on_one_long_chain_store_little(self) -> None:
        trunk = 256
        events = [_event(number, [number - 1] if number else []) for number in range(trunk)]
        events += [_event(trunk + number, [0, trunk - 1]) for number in range(500)]
        self.store(events)
        size = self.read(
            lambda tx: tx.value("SELECT SUM(LENGTH(more) + COALESCE(LENGTH(skip_more), 0)) FROM auth_chains")
        )
        self.assertLess(int(size), 20 * len(events))

    def store(self, events: Iterable[Event]) -> None:
        self.result(self.committer.commit(*(_change(event) for event in events)))

    def index_what_is_missing(self) -> None:
        def find(tx: Transaction) -> set[int]:
            chains = AuthChains(tx, LinkCache(10_000))
            chains.chain(self._stored(tx))
            return chains.computed

        self.result(self.committer.commit(IndexAuthChains(tuple(self.read(find)))))
        self.assertEqual(self.read(find), set())
        self.links = LinkCache(10_000)

    def chains(self, tx: Transaction) -> AuthChains:
        return AuthChains(tx, self.links)

    def _stored(self, tx: Transaction) -> list[int]:
        return [row[0] for row in tx.all("SELECT nid FROM events")]

    def check(self, events: Sequence[Event], chance: random.Random, case: str) -> None:
        walked = WalkedAuthChains(KnownEvents(events))
        ids = [event.event_id for event in events]
        for _ in range(4):
            some = chance.sample(ids, chance.randint(1, 6))
            among = chance.sample(ids, 10)
            rest = chance.sample(ids, chance.randint(0, 3))
            # One more that is not stored, as an event that is being decided about.
            new = _event(len(events), chance.sample(range(len(events)), 2))
            holders = {event_id: chance.randint(1, 6) for event_id in some}
            self.assert_same(walked, {}, Question(holders, rest, among), case)
            with_new = WalkedAuthChains(KnownEvents([*events, new]))
            question = Question({**holders, new.event_id: 4}, rest, among)
            self.assert_same(with_new, {new.event_id: new.auth_events}, question, case)

    def assert_same(
        self,
        walked: WalkedAuthChains,
        unstored: Mapping[str, Sequence[str]],
        question: "Question",
        case: str,
    ) -> None:
        def ask(tx: Transaction) -> tuple[set[str], ...]:
            lookup = TransactionLookup(tx, self.events, RuleEvents())
            index = IndexedAuthChains(lookup, self.chains(tx), self.numbers, unstored)
            index.expect(question.holders.keys() - unstored.keys())
            return question.ask(index)

        self.assertEqual(self.read(ask), question.ask(walked), case)


@dataclass(frozen=True)
class Question:
    holders: Mapping[str, int]
    rest: Sequence[str]
    among: Sequence[str]

    def ask(self, chains: WalkedAuthChains | IndexedAuthChains) -> tuple[set[str], ...]:
        return (
            chains.difference(self.holders, 3, lambda: self.rest),
            chains.subgraph(self.holders.keys()),
            chains.within(self.holders.keys(), self.among),
        )


def _read_one(event_id: str, tx: Transaction) -> tuple[dict[int, Link], set[int]]:
    number = EventNumbers(10).find_numbers(tx, [event_id])[event_id]
    chains = AuthChains(tx, LinkCache(0))
    return chains.reached([number]), chains.chain([number])


def _graph(chance: random.Random, size: int) -> Graph:
    return [
        sorted(chance.sample(range(max(0, number - 12), number), min(number, chance.randint(1, 4))))
        for number in range(size)
    ]


def _event(number: int, auth: Iterable[int]) -> Event:
    pdu = {
        "auth_events": [f"${each}" for each in auth],
        "content": {},
        "depth": number,
        "origin_server_ts": 1,
        "prev_events": [],
        "room_id": ROOM,
        "sender": "@alice:one.example",
        "state_key": str(number),
        "type": "t",
    }
    return load_event(f"${number}", orjson.dumps(pdu), RULES)


def _change(event: Event) -> StoreEvent:
    return StoreEvent(
        room_id=ROOM,
        event_id=event.event_id,
        type=event.type,
        sender=event.sender,
        state_key=event.state_key,
        json=event.json,
        snapshot=None,
        # Also what was rejected has its place in chains.
        flags=OUTLIER | (REJECTED if event.depth % 7 == 3 else 0),
        # Some callers have them at hand, others not.
        auth_events=event.auth_events if event.depth % 2 else None,
    )


class SqliteIndexedAuthChainsTests(SqliteStorage, IndexedAuthChainsTests, SynchronousTestCase):
    pass


class PostgresIndexedAuthChainsTests(PostgresStorage, IndexedAuthChainsTests, SynchronousTestCase):
    rounds = 6
