"""Transactions of other servers. Source: server-server API, "Transactions".

An answer names a result for each PDU. Whatever it calls a success is on disk: EDUs and the PDUs that are done by then,
and the others in the queue, where they are worked off although nobody waits for them any more (`inbound_queue.py`).
"""

import logging
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Protocol

import orjson
from twisted.internet.defer import Deferred, DeferredList

from federation.coalescing import Coalescing
from federation.room_dag.event import InvalidEvent
from federation.room_dag.room_versions import RoomRules
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from federation.rooms.receiving.check_pdu import parse_pdu
from federation.sending.edus import RECEIPT
from popcube_server.services.errors import BadJson, LimitExceeded, NotAllowed
from popcube_server.services.federation.expected_rooms import ExpectedRooms
from popcube_server.services.federation.inbound_queue import InboundQueue, PduObserver, Ticket
from popcube_server.services.federation.origin_turns import RefusalObserver
from popcube_server.services.federation.place_pdu import Fate
from popcube_server.services.federation.retract_invite import RetractInvite
from popcube_server.services.platform import Platform
from storage.committer import CommitFailed, Committer, CommitterBusy
from storage.database import Database
from storage.engines.engine import StorageError
from storage.inbound_pdus import InboundPdu
from storage.received_transactions import DropReceived, ReceivedTransactionsRepository, RecordReceived

logger = logging.getLogger(__name__)

MAX_PDUS = 50
MAX_EDUS = 100
ANSWER_AFTER_S = 5.0
"""What is not done by then is done later. Where others wait already, nothing is waited for."""
KEPT_MS = 24 * 3600 * 1000
RETRY_AFTER_MS = 5_000
MAX_TXN_ID_BYTES = 255
"""A longer one is known by its hash."""


class EduReceiver(Protocol):
    """Takes one EDU of another server; refuses by doing nothing."""

    async def receive(self, origin: str, edu_type: str, content: Mapping[str, Any]) -> None:
        """On disk when it returns. Waits for nobody but this server itself. Raises `CommitFailed`, `StorageError`."""


class TransactionObserver(PduObserver, RefusalObserver, Protocol):
    """Counts (metrics)."""


class ReceiveTransaction:
    def __init__(
        self,
        rooms: LiveRooms,
        expected: ExpectedRooms,
        queue: InboundQueue,
        retract: RetractInvite,
        edus: EduReceiver,
        database: Database,
        repository: ReceivedTransactionsRepository,
        committer: Committer,
        platform: Platform,
        observer: TransactionObserver,
    ) -> None:
        self._rooms = rooms
        self._expected = expected
        self._queue = queue
        self._retract = retract
        self._edus = edus
        self._database = database
        self._repository = repository
        self._committer = committer
        self._platform = platform
        self._observer = observer
        self._under_way: Coalescing[tuple[str, str], bytes] = Coalescing()

    async def receive(self, origin: str, txn_id: str, body: Mapping[str, Any]) -> bytes:
        """JSON of the answer, with a result for each PDU whose ID can be known.

        Raises `BadJson`, `NotAllowed`, `LimitExceeded`; `CommitFailed`, and then it is to be sent again.
        """
        named = body.get("origin", origin)
        if named != origin:
            raise NotAllowed("'origin' must be the server that signed the request.")
        pdus, edus = _get_list(body, "pdus", MAX_PDUS), _get_list(body, "edus", MAX_EDUS)
        key = _short(txn_id)
        try:
            return await self._under_way.run((origin, key), lambda: self._once(origin, key, pdus, edus))
        except CommitterBusy:
            raise LimitExceeded("This server is busy.", RETRY_AFTER_MS) from None

    async def clean(self) -> None:
        """Forget old transactions."""
        await self._committer.commit(DropReceived(self._platform.now_ms() - KEPT_MS))

    async def _once(self, origin: str, txn_id: str, pdus: Sequence[Any], edus: Sequence[Any]) -> bytes:
        known = await self._database.read(lambda tx: self._repository.find_answer(tx, origin, txn_id))
        if known is not None:
            return known
        try:
            self._queue.check_has_room(origin, len(pdus))
        except LimitExceeded:
            self._observer.refused("waiting PDUs")
            raise
        named = [pdu.get("room_id") for pdu in pdus if isinstance(pdu, dict)]
        await self._expected.wait({room_id for room_id in named if isinstance(room_id, str)})
        tickets = await self._queued(origin, pdus)
        # Receipts may be of events that come beside them; nothing else waits for events.
        receipts = [edu for edu in edus if isinstance(edu, dict) and edu.get("edu_type") == RECEIPT]
        others = [edu for edu in edus if not isinstance(edu, dict) or edu.get("edu_type") != RECEIPT]
        receiving = DeferredList(
            [Deferred.fromCoroutine(self._receive_edus(origin, others))], consumeErrors=True
        )
        await self._done_or_late(
            [ticket.wait() for ticket in tickets.values() if ticket.is_worth_waiting_for]
        )
        for succeeded, failure in await receiving:
            if not succeeded:
                # Not on disk, so not answered with success: the origin sends it again, and all of it may come twice.
                raise failure.value  # type: ignore[attr-defined]
        await self._receive_edus(origin, receipts)
        return await self._answered(origin, txn_id, tickets)

    async def _queued(self, origin: str, pdus: Sequence[Any]) -> dict[str, Ticket]:
        """By event ID. PDUs of which there is no ID are dropped."""
        versions: dict[str, RoomRules | None] = {}
        tickets: dict[str, Ticket] = {}
        for pdu in pdus:
            room_id = pdu.get("room_id") if isinstance(pdu, dict) else None
            if not isinstance(room_id, str):
                # "Is a valid event, otherwise it is dropped. For an event to be valid, it must contain a room_id".
                self._observer.pdu(Fate.INVALID.value)
                continue
            if room_id not in versions:
                versions[room_id] = await self._rules(room_id)
            rules = versions[room_id] or await self._retract.find_rules(room_id, pdu)
            if rules is None:
                # Without the room nobody knows its version, and so not the event's ID.
                logger.info("%s sent an event of an unknown room", origin)
                self._observer.pdu(Fate.REFUSED.value)
                continue
            try:
                event = parse_pdu(pdu, rules, room_id)
            except InvalidEvent as error:
                logger.info("%s sent an invalid event of %s: %s", origin, room_id, error)
                self._observer.pdu(Fate.INVALID.value)
                continue
            key = InboundPdu(origin, room_id, event.event_id)
            tickets[event.event_id] = self._queue.put(key, pdu, event.json)
        return tickets

    async def _rules(self, room_id: str) -> RoomRules | None:
        try:
            return (await self._rooms.get(room_id)).rules
        except UnknownRoom:
            return None

    async def _done_or_late(self, waiting: Sequence["Deferred[None]"]) -> None:
        if all(one.called for one in waiting):
            return
        answering: Deferred[None] = Deferred()

        def answer() -> None:
            if not answering.called:
                answering.callback(None)

        timer = self._platform.call_later(ANSWER_AFTER_S, answer)
        DeferredList(waiting).addCallback(lambda _: answer())
        await answering
        if timer.active():
            timer.cancel()

    async def _answered(self, origin: str, txn_id: str, tickets: Mapping[str, Ticket]) -> bytes:
        results: dict[str, dict[str, str]] = {}
        late = []
        for event_id, ticket in tickets.items():
            if ticket.failure is not None:
                raise ticket.failure
            error = None if ticket.result is None else ticket.result.error
            results[event_id] = {} if error is None else {"error": error}
            if not ticket.is_done:
                late.append(ticket)
        answer = orjson.dumps({"pdus": results})
        staged = self._queue.stage(late)
        try:
            await self._committer.commit(
                *staged, RecordReceived(origin, txn_id, answer, self._platform.now_ms())
            )
        except CommitFailed:
            self._queue.forget(late)
            raise
        self._queue.keep(late)
        return answer

    async def _receive_edus(self, origin: str, edus: Sequence[Any]) -> None:
        for edu in edus:
            edu_type = edu.get("edu_type") if isinstance(edu, dict) else None
            content = edu.get("content") if isinstance(edu, dict) else None
            if not isinstance(edu_type, str) or not isinstance(content, dict):
                continue
            try:
                await self._edus.receive(origin, edu_type, content)
            except (CommitFailed, StorageError):
                raise
            except Exception:
                # A fault of ours that the same EDU would bring about again: the others must not wait for it for ever.
                logger.exception("Receiving %s of %s failed", edu_type[:255], origin)


def _get_list(body: Mapping[str, Any], key: str, most: int) -> list[Any]:
    value = body.get(key, [])
    if not isinstance(value, list):
        raise BadJson(f"'{key}' must be a list.")
    # "they can have at most 50 PDUs and 100 EDUs"
    if len(value) > most:
        raise BadJson(f"'{key}' may have at most {most} entries.")
    return value


def _short(txn_id: str) -> str:
    data = txn_id.encode("utf-8", "surrogatepass")
    return txn_id if len(data) <= MAX_TXN_ID_BYTES else "sha256 " + sha256(data).hexdigest()
