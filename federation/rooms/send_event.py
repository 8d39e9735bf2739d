"""Append events to a room: read what is needed, then decide and submit without a pause, then wait for the disk."""

from collections.abc import Callable, Sequence
from functools import partial

from federation.room_dag.auth_rules.auth_state_keys import auth_state_keys
from federation.room_dag.auth_rules.check_event_auth import check_event_auth
from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.canonical_json import encode_lenient
from federation.room_dag.event import Event, EventTemplate, build_event, reference_hash_base64
from federation.room_dag.event_format import MAX_PREV_EVENTS, max_depth
from federation.room_dag.power_levels import PowerLevels
from federation.room_dag.redaction import is_redaction_allowed
from federation.room_dag.room_versions import EventFormat, EventIdFormat
from federation.room_dag.signing import EventSigner
from federation.rooms.choose_heads import ChosenHeads, choose_heads
from federation.rooms.draft import Draft, TransactionKey
from federation.rooms.event_store import EventStore
from federation.rooms.live_room import Facts, Head, LiveRoom, Placement
from federation.rooms.live_rooms import LiveRooms
from federation.rooms.outcomes import PushOutcome, PushOutcomes
from federation.rooms.placing import place_own
from federation.rooms.reading import Reading, needed_pairs
from federation.rooms.relation import THREAD, find_relation
from storage.change import Change
from storage.committer import Committed, Committer
from storage.database import Waiter
from storage.events import StoreEvent
from storage.transactions import RecordTransaction
from synapse_like_config.lazy_dataclasses import dataclass

LOCAL_ID_LENGTH = 18


@dataclass(frozen=True, slots=True)
class Author:
    """In whose name events are made, and the world that they are made in."""

    signer: EventSigner
    now_ms: Callable[[], int]
    random_letters: Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Sent:
    """An event that is on disk."""

    event_id: str
    position: int
    """Where the log stood when it was."""


class StateMoved(Exception):
    """The state has another event by now than the one that a draft was to take the place of."""


class PushRoom:
    """A live room as push rules see it."""

    def __init__(self, room: LiveRoom, reading: Reading) -> None:
        self._room = room
        self._reading = reading

    @property
    def joined_count(self) -> int:
        return self._room.state.joined_count

    @property
    def power_levels(self) -> PowerLevels:
        return self._room.power_levels

    def is_joined(self, user_id: str) -> bool:
        return self._room.state.is_joined(user_id)

    def display_name(self, user_id: str) -> str | None:
        member = self._reading.find_state(self._room, ("m.room.member", user_id))
        name = None if member is None else member.content.get("displayname")
        return name if isinstance(name, str) else None


class SendEvent:
    """The one way in which this server's own events get into rooms."""

    def __init__(
        self,
        rooms: LiveRooms,
        events: EventStore,
        committer: Committer,
        outcomes: PushOutcomes,
        author: Author,
    ) -> None:
        self._rooms = rooms
        self._events = events
        self._committer = committer
        self._outcomes = outcomes
        self._author = author

    async def send(self, draft: Draft, transaction: TransactionKey | None = None, *others: Change) -> Sent:
        """Append one event; `others` are committed with it.

        Raises `UnknownRoom`, `auth_rules.errors.NotAllowed`, `event.InvalidEvent`, `CommitFailed`, or `StateMoved` if
        the draft says `instead_of`. A state event with the content that the state has already is not sent again: the
        answer is the event that is there.
        """
        reading = Reading(self._events)
        if draft.state_key is not None and draft.content.get("membership") == "invite":
            await self._outcomes.prepare(draft.room_id, (draft.state_key,))
        while True:
            room = await self._rooms.get_free(draft.room_id)
            if not self._outcomes.is_prepared(draft.room_id):
                await self._outcomes.prepare(draft.room_id)
            elif missing := reading.missing(room, draft):
                await reading.load(missing)
            else:
                break
        # From here to the submission nothing waits: the room cannot move under our feet.
        self._committer.check_not_busy()
        _check_place(room, draft)
        same = _find_same(reading, room, draft)
        if same is None and len(room.heads) > MAX_PREV_EVENTS:
            return await self._send_over_some(draft, transaction, others)
        if same is None:
            sent_by = None if transaction is None else (transaction.scope, transaction.txn_id)
            change = self.append(room, reading, draft, sent_by)
            event_id, changes = change.event_id, [change, *others]
        else:
            event_id, changes = same, list(others)
        if transaction is not None:
            changes.append(self._record(transaction, event_id))
        if same is not None and same not in room.pending:
            return Sent(event_id, (await self._committer.commit(*changes)).position if changes else 0)
        # Also an event that is there already is no answer before it is on disk.
        committed = await self.finish(room, self._committer.submit(changes, room.fence))
        return Sent(event_id, committed.position)

    async def _send_over_some(
        self, draft: Draft, transaction: TransactionKey | None, others: Sequence[Change]
    ) -> Sent:
        """As `send`, in a room with more heads than an event may name: the state over some of them must be resolved."""
        reading = Reading(self._events)
        async with self._rooms.hold(draft.room_id) as room:
            if room.pending:
                # What is resolved is read from the database, which must know all heads.
                await self._committer.commit(fence=room.fence)
            while missing := reading.missing(room, draft):
                await reading.load(missing)
            _check_place(room, draft)
            self._committer.check_not_busy()
            event, placement = await self._place_over_some(room, reading, draft)
            sent_by = None if transaction is None else (transaction.scope, transaction.txn_id)
            change = room.place(event, self._facts(room, reading, event, sent_by), placement)
            changes: list[Change] = [change, *others]
            if transaction is not None:
                changes.append(self._record(transaction, event.event_id))
            waiter = self._committer.submit(changes, room.fence)
        committed = await self.finish(room, waiter)
        return Sent(event.event_id, committed.position)

    async def _place_over_some(
        self, room: LiveRoom, reading: Reading, draft: Draft
    ) -> tuple[Event, Placement]:
        chosen = self._choose(room, draft)
        for heads in (chosen.heads, chosen.agreeing):
            event = self._build_on(room, reading, draft, heads)
            check_event_auth(event, lambda pair: reading.find_state(room, pair))
            try:
                place = partial(place_own, resolving=self._rooms.resolving, room=room, event=event)
                placement = await self._rooms.decide(room.room_id, place)
            except NotAllowed:
                # The room as a whole allows it, and so do these heads if each of them does.
                if heads is chosen.agreeing or not chosen.agreeing:
                    raise
            else:
                return event, placement
        raise AssertionError("one of the two ways returned or raised")

    def _record(self, transaction: TransactionKey, event_id: str) -> RecordTransaction:
        return RecordTransaction(transaction.scope, transaction.request, event_id, self._author.now_ms())

    async def make_template(self, draft: Draft) -> Event:
        """The event as it would be appended, for another server to sign in its own name; nothing is stored.

        Raises `UnknownRoom`, `auth_rules.errors.NotAllowed`, `event.InvalidEvent`.
        """
        reading = Reading(self._events)
        while True:
            room = await self._rooms.get_free(draft.room_id)
            missing = reading.missing(room, draft)
            if not missing:
                break
            await reading.load(missing)
        event = self.build(room, reading, draft)
        check_event_auth(event, lambda pair: reading.find_state(room, pair))
        return event

    async def finish(self, room: LiveRoom, waiter: Waiter[Committed]) -> Committed:
        """Wait for the disk. If it failed, what the room has in memory is not true and is dropped."""
        try:
            return await waiter
        finally:
            self._rooms.drop_if_broken(room)

    def append(
        self, room: LiveRoom, reading: Reading, draft: Draft, sent_by: tuple[str, str] | None = None
    ) -> StoreEvent:
        """Build, check and append, with everything needed in memory. Raises as `send`."""
        event = self.build(room, reading, draft)
        check_event_auth(event, lambda pair: reading.find_state(room, pair))
        return room.append(event, self._facts(room, reading, event, sent_by))

    def _facts(
        self, room: LiveRoom, reading: Reading, event: Event, sent_by: tuple[str, str] | None
    ) -> Facts:
        return Facts(
            self._outcome(room, reading, event),
            _effective_redaction(room, reading, event),
            _thread(room, reading, event),
            sent_by,
        )

    def build(self, room: LiveRoom, reading: Reading, draft: Draft) -> Event:
        """The signed event at the room's end, not yet checked against the auth rules."""
        return self._build_on(room, reading, draft, self._choose(room, draft).heads)

    def _choose(self, room: LiveRoom, draft: Draft) -> ChosenHeads:
        return choose_heads(room.heads, room.state.entries, needed_pairs(room, draft))

    def _build_on(self, room: LiveRoom, reading: Reading, draft: Draft, heads: Sequence[Head]) -> Event:
        keys = auth_state_keys(room.rules, draft.type, draft.sender, draft.state_key, draft.content)
        auth_ids = [event_id for pair in keys if (event_id := room.state.entries.get(pair)) is not None]
        prev_ids = [head.event_id for head in heads]
        reference_hashes = {}
        if room.rules.event_format is EventFormat.ID_AND_HASH_PAIRS:
            for event_id in (*auth_ids, *prev_ids):
                event = reading.find(room, event_id)
                assert event is not None
                reference_hashes[event_id] = reference_hash_base64(event)
        template = EventTemplate(
            type=draft.type,
            sender=draft.sender,
            room_id=draft.room_id,
            state_key=draft.state_key,
            content=draft.content,
            origin_server_ts=self._author.now_ms()
            if draft.origin_server_ts is None
            else draft.origin_server_ts,
            # "If the room's depth is already at the limit, the depth must be set to the limit."
            depth=min(1 + max((head.depth for head in heads), default=0), max_depth(room.rules)),
            prev_events=prev_ids,
            auth_events=auth_ids,
            redacts=draft.redacts,
            reference_hashes=reference_hashes,
        )
        return build_event(template, room.rules, self._author.signer, self.local_id(room))

    def local_id(self, room: LiveRoom) -> str | None:
        """The localpart of a new event's ID, where the room version has one."""
        if room.rules.event_id_format is EventIdFormat.LOCALPART_AND_DOMAIN:
            return self._author.random_letters(LOCAL_ID_LENGTH)
        return None

    def _outcome(self, room: LiveRoom, reading: Reading, event: Event) -> PushOutcome:
        return self._outcomes.evaluate(event, PushRoom(room, reading))


def _check_place(room: LiveRoom, draft: Draft) -> None:
    if draft.instead_of is None or draft.state_key is None:
        return
    if room.state.entries.get((draft.type, draft.state_key)) != draft.instead_of:
        raise StateMoved(draft.room_id)


def _find_same(reading: Reading, room: LiveRoom, draft: Draft) -> str | None:
    if draft.state_key is None:
        return None
    present = reading.find_state(room, (draft.type, draft.state_key))
    return present.event_id if present is not None and is_same(present, draft) else None


def is_same(present: Event, draft: Draft) -> bool:
    """Whether the state says already what a draft says."""
    if present.sender != draft.sender or present.content != draft.content:
        return False
    # Equal in Python is not yet equal in JSON: True == 1. In JSON the order of keys means nothing.
    return encode_lenient(present.content) == encode_lenient(draft.content)


def _effective_redaction(room: LiveRoom, reading: Reading, event: Event) -> str | None:
    if event.redacts is None:
        return None
    target = reading.find(room, event.redacts)
    if target is None or not is_redaction_allowed(event, target, room.power_levels):
        return None
    return event.redacts


def _thread(room: LiveRoom, reading: Reading, event: Event) -> str | None:
    relation = None if event.is_state else find_relation(event.content)
    if relation is None:
        return None
    # A reaction to or an edit of something in a thread belongs to that thread.
    return relation.parent if relation.rel_type == THREAD else reading.find_thread(room, relation.parent)
