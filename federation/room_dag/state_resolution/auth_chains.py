"""Auth chains by walking from event to event."""

from collections.abc import Callable, Collection, Iterable, Mapping

from federation.room_dag.state_resolution.interfaces import EventLookup


class WalkedAuthChains:
    """AuthChains that need nothing but the events; an index in storage answers faster for large rooms."""

    def __init__(self, events: EventLookup) -> None:
        self._events = events

    def chain(self, event_ids: Iterable[str]) -> set[str]:
        """The union of the auth chains of some events, which are not in it unless they are in another's."""
        seen: set[str] = set()
        self._walk(event_ids, seen, frozenset())
        return seen

    def difference(
        self, conflicted: Mapping[str, int], states: int, unconflicted: Callable[[], Iterable[str]]
    ) -> set[str]:
        """Every event in the auth chain of at least one state, but not of all, that is not conflicted itself."""
        chains = [
            self.chain(event_id for event_id, bits in conflicted.items() if bits >> state & 1)
            for state in range(states)
        ]
        common = set.intersection(*chains)
        difference = set.union(*chains) - common - conflicted.keys()
        if difference:
            # What an unconflicted event depends on is in the chain of every state. What is below a common
            # event is common too, so that most unconflicted events are done after one step.
            shared: set[str] = set()
            for event_id in unconflicted():
                difference.discard(event_id)
                self._walk((event_id,), shared, common)
            difference -= shared
        return difference

    def subgraph(self, conflicted: Collection[str]) -> set[str]:
        """All events on paths of auth events between two conflicted events."""
        # Starting from conflicted events down, note for each event by which ones it was reached, ...
        reached_from: dict[str, list[str]] = {}
        pending = list(conflicted)
        expanded = set(pending)
        while pending:
            event_id = pending.pop()
            for auth_id in self._events.get(event_id).auth_events:
                reached_from.setdefault(auth_id, []).append(event_id)
                if auth_id not in expanded:
                    expanded.add(auth_id)
                    pending.append(auth_id)
        # ... then climb these paths again, but only from conflicted events.
        subgraph = set(conflicted)
        pending = list(conflicted)
        while pending:
            for event_id in reached_from.get(pending.pop(), ()):
                if event_id not in subgraph:
                    subgraph.add(event_id)
                    pending.append(event_id)
        return subgraph

    def within(self, event_ids: Collection[str], among: Collection[str]) -> set[str]:
        """Those of `among` that are in the auth chain of one of the events."""
        return self.chain(event_ids).intersection(among)

    def expect(self, event_ids: Collection[str]) -> None:
        """Walking needs no preparation."""

    def _walk(self, event_ids: Iterable[str], seen: set[str], known: Collection[str]) -> None:
        """Add to `seen` all that is reached without going through `known`."""
        get = self._events.get
        for start in event_ids:
            pending = list(get(start).auth_events)
            while pending:
                event_id = pending.pop()
                if event_id not in seen and event_id not in known:
                    seen.add(event_id)
                    pending.extend(get(event_id).auth_events)
