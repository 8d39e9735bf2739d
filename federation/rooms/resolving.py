"""What decisions about rooms read with: states, events, auth chains and merges, with their caches."""

from collections.abc import Collection, Sequence

from federation.rooms.event_store import EventStore
from federation.rooms.merge_branches import MergeBranches
from federation.rooms.states import States
from federation.rooms.transaction_lookup import RuleEvents, TransactionLookup
from storage.auth_chains import AuthChains, LinkCache, Unindexed
from storage.change import LogEntry
from storage.database import Transaction
from storage.event_numbers import EventNumbers
from storage.events import StoreEvent
from storage.log import Log
from storage.snapshots import SnapshotsRepository

KEPT_NUMBERS = 100_000
KEPT_LINKS = 100_000


class Resolving:
    """One for all rooms. Everything but its making is for database threads."""

    def __init__(self, snapshots: SnapshotsRepository, events: EventStore, log: Log) -> None:
        self._events = events
        self._numbers = EventNumbers(KEPT_NUMBERS)
        self._links = LinkCache(KEPT_LINKS)
        self._memory = RuleEvents()
        self.states = States(snapshots, self._numbers)
        self.unindexed = Unindexed()
        self.branches = MergeBranches(self._numbers, self._links, self.unindexed)
        log.follow(self._follow)

    def lookup(self, tx: Transaction) -> TransactionLookup:
        """Events for one decision. Make it before anything is read in the transaction."""
        return TransactionLookup(tx, self._events, self._memory)

    def auth_chain(self, tx: Transaction, event_ids: Collection[str]) -> set[str]:
        """IDs of all events that these stand on by auth events, as far as they are here."""
        stored = self._events.get_many_within(tx, event_ids)
        # Only state has a place in the index; what a message names has.
        named = {auth for each in stored.values() for auth in each.event.auth_events}
        numbers = self._numbers.find_numbers(tx, named)
        chains = AuthChains(tx, self._links)
        chain = chains.chain(numbers.values())
        self.unindexed.add(chains.computed)
        return set(self._numbers.find_ids(tx, chain).values()) | numbers.keys()

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if isinstance(entry.change, StoreEvent) and entry.change.outlier_nid is not None:
                self._memory.forget(entry.change.event_id)
