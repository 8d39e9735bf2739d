"""Makes an event that a peer site accepted part of its room here, with what it stands on.

The checks are those of any PDU (signatures, hashes, the room's rules): a peer is trusted to tell what it has, and not
to decide what a room allows; only what is soft failed is as the peer says (`peer_verdicts.py`). What is missing is
asked of the peer, by the same requests as of another server.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from federation.room_dag.auth_rules.auth_state_keys import CREATE_PAIR
from federation.room_dag.event import Event, InvalidEvent
from federation.room_dag.room_versions import RoomRules, UnknownRoomVersion, get_room_rules
from federation.room_dag.signing import InvalidSignature
from federation.rooms.accept_event import AcceptEvent, Verdict
from federation.rooms.event_store import EventStore
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from federation.rooms.receiving.auth_order import judge_by_auth_events
from federation.rooms.receiving.check_pdu import CheckPdus
from federation.rooms.receiving.fetch_missing import FetchMissing, StateUnavailable
from federation.rooms.receiving.receive_pdu import ReceivePdu
from federation.rooms.receiving.remote import AskServers
from federation.rooms.room_state import MEMBER, StatePair
from federation.rooms.take_room import TakeRoom
from federation.sites.batch import ReceivedEvent, Unplaceable
from federation.sites.checked_event import CheckedEvent
from federation.sites.hold_events import HoldEvents
from federation.sites.peer_verdicts import PeerVerdicts
from federation.sites.pipeline import PeerPipeline, Placed
from federation.sites.write_faults import is_at_fault
from federation.transport.errors import Unreachable
from storage.events import OUTLIER
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PeerRooms:
    """How events of one peer get into rooms: each writes in the peer's name (`storage.committer.PeerCommitter`)."""

    ask: AskServers
    """Asks the peer; its name stands where a server's would."""
    accept: AcceptEvent
    receive: ReceivePdu
    fetch: FetchMissing
    take_room: TakeRoom
    verdicts: PeerVerdicts
    pipeline: PeerPipeline


class PlaceSiteEvent:
    """Events of all peers."""

    def __init__(
        self,
        peers: Mapping[str, PeerRooms],
        rooms: LiveRooms,
        events: EventStore,
        check: CheckPdus,
        hold: HoldEvents,
        server_name: str,
    ) -> None:
        self._peers = peers
        self._hold = hold
        self._rooms = rooms
        self._events = events
        self._check = check
        self._server_name = server_name

    async def check(self, site: str, received: Iterable[ReceivedEvent]) -> Sequence[CheckedEvent]:
        """Those that are events, and signed. The others are kept for later, and do not hold up what follows.

        Raises `CommitFailed`.
        """
        checked = []
        for event in received:
            try:
                checked.append(await self._check_one(event))
            except Unplaceable as error:
                await self._hold.hold_unchecked(site, event, str(error))
        return checked

    async def _check_one(self, event: ReceivedEvent) -> CheckedEvent:
        try:
            rules = get_room_rules(event.room_version)
            whole = await self._check.check(event.pdu, rules, event.room_id)
        except (InvalidEvent, InvalidSignature, UnknownRoomVersion) as error:
            raise Unplaceable(str(error)) from error
        return CheckedEvent(whole, event.is_soft_failed)

    def looked_up(self, events: Iterable[CheckedEvent]) -> AbstractAsyncContextManager[None]:
        """Within the block, those that are new are placed without a look at the database each."""
        return self._events.looked_up(each.event.event_id for each in events)

    async def place(self, site: str, placing: CheckedEvent) -> None:
        """In the room when it returns, and on its way to the disk; or refused by the room: then it is logged. Or kept
        for later, once it was tried in vain for long enough.

        Raises `FederationError`, `MissingEvents`, `StateUnavailable`, `CommitFailed`, and what nobody has thought
        of: it is to be tried again.
        """
        if self._hold.is_unwritable(placing):
            return
        try:
            await self._place_now(site, placing)
        except Unreachable:
            # It may have what is missing.
            raise
        except Exception as error:
            if not is_at_fault(error) or not self._hold.is_enough(site, placing):
                raise
            await self._hold.hold(site, placing, str(error) or type(error).__name__)
        else:
            self._hold.placed(site, placing)

    async def keep_unwritable(self, site: str, received: Iterable[ReceivedEvent], placed: Placed) -> None:
        """Of rooms of which an event could not be written: keep for later what is not here, once it was tried in vain
        for long enough. What of it only stands on that event is not told apart: trying again shows.

        Raises `CommitFailed`, `NoRoomToHold`.
        """
        for each in await self.check(site, received):
            reason = placed.unwritable.get(each.event.room_id)
            if reason is None or not self._hold.is_enough_writing(site, each):
                continue
            stored = await self._events.find(each.event.event_id)
            if stored is None or stored.flags & OUTLIER:
                await self._hold.hold_unwritable(site, each, reason)

    async def place_again(self, site: str, received: ReceivedEvent) -> None:
        """An event that was kept: on disk when it returns, or refused by its room.

        Raises `Unplaceable` and what `place` raises. Not for an object that takes batches too: each waits only for the
        events that it placed itself.
        """
        checked = await self._check_one(received)
        if site not in self._peers:
            # It was taken out since; any other may have what the event stands on.
            site = next(iter(self._peers), site)
        if site not in self._peers:
            raise Unplaceable("there is no site that could be asked")
        try:
            await self._place_now(site, checked)
        finally:
            await self._peers[site].pipeline.take_placed().settled()

    async def _place_now(self, site: str, placing: CheckedEvent) -> None:
        checked = placing.event
        peer = self._peers[site]
        try:
            room = await self._rooms.get(checked.room_id)
        except UnknownRoom:
            await self._take_room(site, peer, checked.rules, checked)
            return
        if (
            _is_own_join(checked, self._server_name)
            and not room.committed.has_member_of(self._server_name)
            and checked.depth >= room.depth
        ):
            # The peer came back into a room that all of us had left: what is known here is as old as it was there.
            # If more is known here, the join was kept for later, and all have left again.
            await peer.accept.accept_return(checked, await peer.fetch.state_before(site, checked))
            return
        with peer.verdicts.about(checked.event_id, placing.is_soft_failed):
            verdict = await peer.receive.receive(site, checked)
        if verdict is Verdict.REJECTED:
            logger.error("Site %s accepted %s, which cannot be accepted here", site, checked.event_id)

    def take_placed(self, site: str) -> Placed:
        """The events of a peer that were placed since the last call, on their way to the disk."""
        return self._peers[site].pipeline.take_placed()

    async def _take_room(self, site: str, peer: PeerRooms, rules: RoomRules, event: Event) -> None:
        """A room that the peer made, or has joined."""
        if event.state_key is not None and event.state_pair == CREATE_PAIR:
            await peer.take_room.take(rules, event, {}, ())
            return
        pdus = await peer.ask.state(site, event.room_id, event.event_id)
        ids = await peer.ask.state_ids(site, event.room_id, event.event_id)
        events = await self._check.check_many(pdus, rules, event.room_id)
        judged = judge_by_auth_events(events, {})
        state: dict[StatePair, Event] = {}
        for event_id in ids.state:
            each = judged.accepted.get(event_id)
            if each is None:
                raise StateUnavailable(f"the state of {event.room_id} lacks {event_id}")
            state[each.state_pair] = each
        await peer.take_room.take(rules, event, state, list(judged.accepted.values()))


def _is_own_join(event: Event, server_name: str) -> bool:
    return (
        event.type == MEMBER
        and event.membership == "join"
        and event.state_key is not None
        and event.state_key.partition(":")[2] == server_name
    )
