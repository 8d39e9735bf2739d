"""Take one event that another server sent into its room, with what it stands on.

Source: server-server API, "Checks performed on receipt of a PDU"; "Backfilling and retrieving missing events".
"""

from collections.abc import Callable, Mapping, Sequence

from federation.room_dag.event import Event
from federation.rooms.accept_event import AcceptEvent, MissingEvents, Verdict
from federation.rooms.receiving.fetch_missing import FetchMissing, StateUnavailable
from federation.rooms.room_state import StatePair
from federation.turns import FairTurns
from storage.gaps import AddGap

FETCHING_AT_ONCE = 30
"""Events that wait for what they stand on, of all servers; the others wait for that."""
FETCHING_OF_ONE = 3
"""Of one server."""
MAX_STATES_AT_GAP = 5
"""States of another server that are fetched for one event."""
MAX_FETCHING_MS = 10 * 60 * 1000
"""For one event, with everything that it stands on."""


class ReceivePdu:
    """The last step of receiving: the event's format, signatures and hash were checked."""

    def __init__(
        self, accept: AcceptEvent, fetch: FetchMissing, turns: FairTurns, now_ms: Callable[[], int]
    ) -> None:
        """`turns` are for fetching, by origin: what comes back is held in memory."""
        self._accept = accept
        self._fetch = fetch
        self._turns = turns
        self._now_ms = now_ms

    async def receive(self, origin: str, event: Event) -> Verdict:
        """Decide and store. Raises `UnknownRoom`; `FederationError`, `StateUnavailable` or `MissingEvents` if what the
        event stands on cannot be had; `CommitFailed`. Then the event is not stored and may be sent again.
        """
        if not event.prev_events and await self._fetch.is_past(event):
            # The room's create event, of a room that this server joined later.
            return Verdict.KNOWN
        try:
            return await self._accept.accept(event)
        except MissingEvents as error:
            missing = error
        return await self._turns.run(origin, lambda: self._receive_with_ancestors(origin, event, missing))

    async def _receive_with_ancestors(self, origin: str, event: Event, missing: MissingEvents) -> Verdict:
        until_ms = self._now_ms() + MAX_FETCHING_MS
        if missing.prev_events:
            if await self._fetch.is_past(event):
                return Verdict.KNOWN
            for ancestor in (await self._fetch.ancestors(origin, event)).values():
                if self._now_ms() > until_ms:
                    # Each answer came in time, and all of them together do not.
                    raise StateUnavailable(f"what {event.event_id} stands on took too long to come")
                await self._place(origin, ancestor)
        return await self._place(origin, event)

    async def _place(self, origin: str, event: Event) -> Verdict:
        """An event whose ancestors came before it, as far as they can be had."""
        missing = await self._try(event)
        if isinstance(missing, Verdict):
            return missing
        if missing.auth_events:
            await self._fetch.auth_events(origin, event)
            missing = await self._try(event)
            if isinstance(missing, Verdict):
                return missing
            if missing.auth_events:
                raise missing
        states = await self._states_at_gap(origin, event, missing.prev_events)
        return await self._accept.accept_at_gap(event, states, AddGap(event.room_id, event.event_id))

    async def _states_at_gap(
        self, origin: str, event: Event, missing: frozenset[str]
    ) -> Sequence[Mapping[StatePair, str]]:
        if len(missing) < len(event.prev_events) and len(missing) <= MAX_STATES_AT_GAP:
            # The state before the event is resolved already from those after all of its prev events. Resolved again
            # with those that are here, it could become another one than all others have.
            states = [await self._fetch.find_state_after(origin, event, prev) for prev in sorted(missing)]
            if all(state is not None for state in states):
                return [state for state in states if state is not None]
        return [await self._fetch.state_before(origin, event)]

    async def _try(self, event: Event) -> Verdict | MissingEvents:
        try:
            return await self._accept.accept(event)
        except MissingEvents as missing:
            return missing
