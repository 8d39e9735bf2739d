"""From memberships and changes to what is to be told of which room: the decisions of a sync about rooms."""

from collections.abc import Mapping, Sequence
from dataclasses import field

from federation.rooms.event_store import live_ordering
from federation.rooms.room_state import EMPTY_STATE, MEMBER, RoomState
from federation.rooms.stored_event import from_row
from popcube_server.services.rooms.membership_history import MembershipHistories, MembershipHistory
from popcube_server.services.sync.changes import Changes, RoomChanges
from popcube_server.services.sync.room_states import RoomStates
from popcube_server.services.sync.timelines import RoomTask
from storage.database import Database, Transaction
from storage.event_rows import EventsRepository
from storage.events import ORDERING_STEP
from storage.memberships import MembershipRow
from synapse_like_config.lazy_dataclasses import dataclass

NEVER = 2**62
"""As `seen_after`: nothing is seen without asking."""

_GONE = ("leave", "ban")


@dataclass(frozen=True, slots=True)
class RoomPlan:
    """The user's rooms that an answer is about, as they were at the position at which it ends."""

    joined: Mapping[str, MembershipRow]
    left: Mapping[str, MembershipRow]
    invited: Sequence[str]
    knocked: Sequence[str]
    states: dict[str, RoomState] = field(default_factory=dict)
    """Of rooms in memory."""


def plan_rooms(
    rooms: Mapping[str, MembershipRow],
    changes: Changes,
    since: int | None,
    has_left_rooms: bool,
    is_full_state: bool,
) -> RoomPlan:
    """Which rooms to look at; for a first sync (`since` None) all that the user is in, invited to or knocked at.

    "Left room appears once in incremental sync, later only with include_leave; forgotten room never."
    """
    joined: dict[str, MembershipRow] = {}
    left: dict[str, MembershipRow] = {}
    invited: list[str] = []
    knocked: list[str] = []
    only_changed = since is not None and changes.is_known
    candidates = (
        rooms if not only_changed or is_full_state else [one for one in changes.rooms if one in rooms]
    )
    for room_id in candidates:
        row = rooms[room_id]
        is_news = since is None or row.position > since
        if row.membership == "join":
            joined[room_id] = row
        elif row.membership == "invite" and is_news:
            invited.append(room_id)
        elif row.membership == "knock" and is_news:
            knocked.append(room_id)
        elif (
            row.membership in _GONE
            and not row.forgotten
            and is_news
            and (since is not None or has_left_rooms)
        ):
            left[room_id] = row
    return RoomPlan(joined, left, invited, knocked)


class RoomTasks:
    """Works out the stretch of timeline and the kind of state for each room."""

    def __init__(
        self,
        database: Database,
        repository: EventsRepository,
        histories: MembershipHistories,
        states: RoomStates,
    ) -> None:
        self._database = database
        self._repository = repository
        self._histories = histories
        self._states = states

    async def of_joined(
        self,
        user_id: str,
        plan: RoomPlan,
        changes: Changes,
        since: int | None,
        upto: int,
        is_full_state: bool,
    ) -> list[RoomTask]:
        """For the rooms that the user is in."""
        states = await self._complete_states(plan, upto)
        moved = [room_id for room_id, row in plan.joined.items() if since is None or row.position > since]
        histories = await self._histories.of_many(user_id, moved)
        tasks: list[RoomTask] = []
        unknown: list[str] = []
        for room_id in plan.joined:
            state = states.get(room_id)
            if state is None:
                continue
            history = histories.get(room_id)
            seen_after = NEVER if since is None else live_ordering(since)
            is_known = since is not None
            if history is not None:
                # "Newly joined" is who was not in the room before. Who was, and only went out in between, gets what
                # changed meanwhile like everybody else, as far as they may see it.
                is_known = since is not None and history.at(live_ordering(since)) == "join"
                if since is None or not history.is_joined_throughout(
                    live_ordering(since), live_ordering(upto)
                ):
                    came = history.joined_since(live_ordering(upto))
                    seen_after = NEVER if came is None else came - 1
            if not is_known:
                tasks.append(RoomTask(room_id, state, None, upto, None, seen_after))
                continue
            if not changes.is_known and not is_full_state:
                unknown.append(room_id)
            room_changes = None if is_full_state else changes.rooms.get(room_id) or RoomChanges()
            tasks.append(RoomTask(room_id, state, since, upto, room_changes, seen_after))
        if unknown and since is not None:
            read = await self._read_changes(unknown, since, upto)
            tasks = [
                RoomTask(task.room_id, task.state, since, upto, read[task.room_id], task.seen_after)
                if task.room_id in read
                else task
                for task in tasks
            ]
        return tasks

    async def of_left(
        self, user_id: str, plan: RoomPlan, changes: Changes, since: int | None, upto: int
    ) -> list[RoomTask]:
        """For the rooms that the user is out of."""
        histories = await self._histories.of_many(user_id, plan.left)
        tasks = []
        for room_id, row in plan.left.items():
            task = await self._left_room(user_id, row, histories[room_id], changes, since)
            if task is not None:
                tasks.append(task)
        return tasks

    async def _complete_states(self, plan: RoomPlan, upto: int) -> dict[str, RoomState]:
        states = plan.states
        missing = [room_id for room_id in plan.joined if room_id not in states]
        if missing:
            states.update(await self._states.at(missing, upto))
        return states

    async def _left_room(
        self,
        user_id: str,
        row: MembershipRow,
        history: MembershipHistory,
        changes: Changes,
        since: int | None,
    ) -> RoomTask | None:
        room_id, upto = row.room_id, row.position
        pair = (MEMBER, user_id)
        end = await self._states.past(room_id, upto)
        own_id = await self._own_event(row) if end is None else end.entries.get(pair)
        if own_id is None:
            return None
        left_at = history.left_at(live_ordering(upto))
        begin = None if since is None else live_ordering(since)
        if left_at is None or (begin is not None and left_at <= begin):
            # They were not in the room: an invite or a knock came to nothing, or they were banned from outside. The
            # room's state is none of their business.
            state = EMPTY_STATE.with_entry(pair, own_id, row.membership)
            own = RoomChanges(pairs={pair: upto}, has_timeline=True)
            return RoomTask(room_id, state, upto - 1, upto, own, NEVER, is_present=False)
        state_then = end if left_at == live_ordering(upto) else None
        state_then = state_then or await self._states.past(room_id, left_at // ORDERING_STEP)
        if state_then is None:
            return None
        # "The state updates for the room", as far as they were there to see them.
        state = state_then.with_entry(pair, own_id, row.membership)
        delta = None
        if since is not None and begin is not None and history.is_joined_throughout(begin, left_at - 1):
            found = changes.rooms.get(room_id)
            if found is None or not changes.is_known:
                found = (await self._read_changes((room_id,), since, upto))[room_id]
            delta = RoomChanges(
                pairs={one: at for one, at in found.pairs.items() if at * ORDERING_STEP <= left_at}
            )
            delta.pairs.setdefault(pair, upto)
        return RoomTask(room_id, state, since, upto, delta, NEVER, is_present=False)

    async def _own_event(self, row: MembershipRow) -> str | None:
        rows = await self._database.read(lambda tx: self._repository.get_by_nid(tx, (row.event_nid,)))
        return rows[0].event_id if rows else None

    async def _read_changes(self, room_ids: Sequence[str], since: int, upto: int) -> dict[str, RoomChanges]:
        """As `find_changes`, from the database: for clients that were away for long."""
        return await self._database.read(
            lambda tx: {room_id: self._read_room_changes(tx, room_id, since, upto) for room_id in room_ids}
        )

    def _read_room_changes(self, tx: Transaction, room_id: str, since: int, upto: int) -> RoomChanges:
        found = RoomChanges(has_timeline=True, has_receipts=True, has_own_receipts=True, has_typing=True)
        rows = self._repository.get_state_between(tx, room_id, live_ordering(since), live_ordering(upto))
        for row in rows:
            event = from_row(row).event
            found.pairs.setdefault(event.state_pair, row.position)
        for pair in self._repository.get_reset_entries(tx, room_id, since, upto):
            # Where in between it was does not matter: the entry is looked up at the end.
            found.pairs[pair] = since + 1
        return found
