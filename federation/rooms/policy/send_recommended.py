"""Send events into rooms that may have a policy server: it is asked before anybody else gets to see the event.

While it is asked, the room goes on: the event then stands where it stood when it was made, beside what came meanwhile.
"""

from collections.abc import Callable

from federation.room_dag.auth_rules.errors import NotAllowed
from federation.rooms.accept_event import AcceptEvent, Verdict
from federation.rooms.draft import Draft, TransactionKey
from federation.rooms.event_store import EventStore
from federation.rooms.live_rooms import LiveRooms
from federation.rooms.policy.ask_policy_server import PolicyServerAway, PolicyServers
from federation.rooms.policy.policy_server import is_exempt
from federation.rooms.room_state import MEMBER
from federation.rooms.send_event import SendEvent, Sent, StateMoved, is_same
from storage.change import Change
from storage.transactions import RecordTransaction


class SendRecommended:
    """`SendEvent.send`, with the policy server's consent where the room wants that."""

    def __init__(
        self,
        send_event: SendEvent,
        accept: AcceptEvent,
        policy: PolicyServers,
        rooms: LiveRooms,
        events: EventStore,
        now_ms: Callable[[], int],
    ) -> None:
        self._send_event = send_event
        self._accept = accept
        self._policy = policy
        self._rooms = rooms
        self._events = events
        self._now_ms = now_ms

    async def send(self, draft: Draft, transaction: TransactionKey | None = None, *others: Change) -> Sent:
        """Raises as `SendEvent.send`, and `NotRecommended` or `PolicyServerAway`."""
        if is_exempt(draft.type, draft.state_key) or await self._policy.find(draft.room_id) is None:
            return await self._send_event.send(draft, transaction, *others)
        await self._check_place(draft)
        if await self._is_there(draft):
            return await self._send_event.send(draft, transaction, *others)
        event = await self._send_event.make_template(draft)
        try:
            event = await self._policy.recommend(event)
        except PolicyServerAway:
            # Nobody is held in a room by a server that does not answer. The others ask it themselves.
            if not _is_leaving(draft):
                raise
            return await self._send_event.send(draft, transaction, *others)
        changes = list(others)
        if transaction is not None:
            changes.append(
                RecordTransaction(transaction.scope, transaction.request, event.event_id, self._now_ms())
            )
        await self._check_place(draft)
        sent_by = None if transaction is None else (transaction.scope, transaction.txn_id)
        verdict = await self._accept.accept_own(event, sent_by, *changes)
        if verdict is not Verdict.ACCEPTED:
            raise NotAllowed("the room changed while its policy server was asked")
        stored = await self._events.find(event.event_id)
        return Sent(event.event_id, 0 if stored is None else stored.position)

    async def _check_place(self, draft: Draft) -> None:
        if draft.instead_of is None or draft.state_key is None:
            return
        room = await self._rooms.get(draft.room_id)
        if room.state.entries.get((draft.type, draft.state_key)) != draft.instead_of:
            raise StateMoved(draft.room_id)

    async def _is_there(self, draft: Draft) -> bool:
        """Whether the state says that already."""
        if draft.state_key is None:
            return False
        room = await self._rooms.get(draft.room_id)
        event_id = room.committed.entries.get((draft.type, draft.state_key))
        stored = None if event_id is None else await self._events.find(event_id)
        return stored is not None and is_same(stored.event, draft)


def _is_leaving(draft: Draft) -> bool:
    is_own = draft.type == MEMBER and draft.state_key == draft.sender
    return is_own and draft.content.get("membership") == "leave"
