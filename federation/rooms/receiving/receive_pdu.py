"""Take one event that another server sent into its room, with what it stands on.

Source: server-server API, "Checks performed on receipt of a PDU"; "Backfilling and retrieving missing events".
"""

from federation.room_dag.event import Event
from federation.rooms.accept_event import AcceptEvent, MissingEvents, Verdict
from federation.rooms.receiving.fetch_missing import FetchMissing
from storage.gaps import AddGap


class ReceivePdu:
    """The last step of receiving: the event's format, signatures and hash were checked."""

    def __init__(self, accept: AcceptEvent, fetch: FetchMissing) -> None:
        self._accept = accept
        self._fetch = fetch

    async def receive(self, origin: str, event: Event) -> Verdict:
        """Decide and store. Raises `UnknownRoom`; `FederationError`, `StateUnavailable` or `MissingEvents` if what the
        event stands on cannot be had; `CommitFailed`. Then the event is not stored and may be sent again.
        """
        try:
            return await self._accept.accept(event)
        except MissingEvents as missing:
            if missing.prev_events:
                if await self._fetch.is_past(event):
                    return Verdict.KNOWN
                for ancestor in (await self._fetch.ancestors(origin, event)).values():
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
        state = await self._fetch.state_before(origin, event)
        return await self._accept.accept_at_gap(event, state, AddGap(event.room_id, event.event_id))

    async def _try(self, event: Event) -> Verdict | MissingEvents:
        try:
            return await self._accept.accept(event)
        except MissingEvents as missing:
            return missing
