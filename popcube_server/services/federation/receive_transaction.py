"""Transactions of other servers. Source: server-server API, "Transactions".

PDUs are worked off in order within a room and beside each other across rooms. If that takes long (ancestors have to be
fetched from somewhere), the sender has its answer anyway and the work goes on: what is lost if the server stops in
between is fetched again, as an ancestor of the next event.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson
from twisted.internet.defer import Deferred, DeferredList, DeferredLock

from federation.coalescing import Coalescing
from federation.room_dag.event import InvalidEvent
from federation.room_dag.room_versions import RoomRules
from federation.room_dag.signing import InvalidSignature
from federation.rooms.accept_event import MissingEvents, Verdict
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from federation.rooms.receiving.check_pdu import CheckPdus, parse_pdu
from federation.rooms.receiving.fetch_missing import StateUnavailable
from federation.rooms.receiving.receive_pdu import ReceivePdu
from federation.transport.errors import FederationError
from popcube_server.services.errors import BadJson, LimitExceeded
from popcube_server.services.federation.retract_invite import RetractInvite
from popcube_server.services.federation.room_access import RoomAccess, has_member_of
from popcube_server.services.platform import Platform, Timer
from storage.committer import CommitFailed, Committer
from storage.database import Database
from storage.received_transactions import DropReceived, ReceivedTransactionsRepository, RecordReceived

logger = logging.getLogger(__name__)

MAX_PDUS = 50
MAX_EDUS = 100
MAX_WAITING_PDUS = 200
"""Of one server; its next transactions are refused until some are done."""
ANSWER_AFTER_S = 15.0
KEPT_MS = 24 * 3600 * 1000
RETRY_AFTER_MS = 5_000


class EduReceiver(Protocol):
    """Takes one EDU of another server; refuses by doing nothing."""

    async def receive(self, origin: str, edu_type: str, content: Mapping[str, Any]) -> None: ...


class ReceiveTransaction:
    def __init__(
        self,
        rooms: LiveRooms,
        access: RoomAccess,
        check: CheckPdus,
        receive_pdu: ReceivePdu,
        retract: RetractInvite,
        edus: EduReceiver,
        database: Database,
        repository: ReceivedTransactionsRepository,
        committer: Committer,
        platform: Platform,
        server_name: str,
    ) -> None:
        self._rooms = rooms
        self._access = access
        self._check = check
        self._receive_pdu = receive_pdu
        self._retract = retract
        self._edus = edus
        self._database = database
        self._repository = repository
        self._committer = committer
        self._platform = platform
        self._server_name = server_name
        self._under_way: Coalescing[tuple[str, str], bytes] = Coalescing()
        self._locks: dict[str, DeferredLock] = {}
        self._waiting: dict[str, int] = {}
        self._late: set[Deferred[Any]] = set()

    async def receive(self, origin: str, txn_id: str, body: Mapping[str, Any]) -> bytes:
        """JSON of the answer, with a result for each PDU whose ID can be known. Raises `BadJson`, `LimitExceeded`."""
        pdus, edus = _get_list(body, "pdus", MAX_PDUS), _get_list(body, "edus", MAX_EDUS)
        return await self._under_way.run((origin, txn_id), lambda: self._once(origin, txn_id, pdus, edus))

    async def clean(self) -> None:
        """Forget old transactions."""
        await self._committer.commit(DropReceived(self._platform.now_ms() - KEPT_MS))

    def start(self) -> None:
        return

    async def stop(self) -> None:
        """Wait for what is under way."""
        await DeferredList(list(self._late))

    async def _once(self, origin: str, txn_id: str, pdus: Sequence[Any], edus: Sequence[Any]) -> bytes:
        known = await self._database.read(lambda tx: self._repository.find_answer(tx, origin, txn_id))
        if known is not None:
            return known
        if self._waiting.get(origin, 0) + len(pdus) > MAX_WAITING_PDUS:
            raise LimitExceeded("Too many of your events are waiting.", RETRY_AFTER_MS)
        results: dict[str, dict[str, str]] = {}
        self._waiting[origin] = self._waiting.get(origin, 0) + len(pdus)
        work = [
            Deferred.fromCoroutine(self._of_room(origin, room_id, of_room, results))
            for room_id, of_room in _by_room(pdus).items()
        ]
        work.append(Deferred.fromCoroutine(self._receive_edus(origin, edus)))
        failures: list[Exception] = []
        await self._finished_or_late(DeferredList(work, consumeErrors=True), failures)
        for error in failures:
            if isinstance(error, CommitFailed):
                # Not on disk, so not answered with success: the origin sends it again, and all of it may come twice.
                raise error
        answer = orjson.dumps({"pdus": results})
        await self._committer.commit(RecordReceived(origin, txn_id, answer, self._platform.now_ms()))
        return answer

    async def _finished_or_late(self, work: "Deferred[Any]", failures: list[Exception]) -> None:
        answering: Deferred[None] = Deferred()
        timer: Timer = self._platform.call_later(ANSWER_AFTER_S, lambda: answering.callback(None))
        self._late.add(work)

        def finished(outcome: Any) -> Any:
            self._late.discard(work)
            for succeeded, failure in outcome:
                if not succeeded:
                    logger.error("Receiving failed: %s", failure)
                    failures.append(failure.value)
            if timer.active():
                timer.cancel()
                answering.callback(None)

        work.addCallback(finished)
        await answering

    async def _of_room(
        self, origin: str, room_id: str, pdus: Sequence[Any], results: dict[str, dict[str, str]]
    ) -> None:
        lock = self._locks.setdefault(room_id, DeferredLock())
        await lock.acquire()
        try:
            for pdu in pdus:
                try:
                    await self._receive(origin, room_id, pdu, results)
                finally:
                    self._done(origin)
        finally:
            lock.release()
            if not lock.locked:
                self._locks.pop(room_id, None)

    def _done(self, origin: str) -> None:
        self._waiting[origin] -= 1
        if not self._waiting[origin]:
            del self._waiting[origin]

    async def _receive(self, origin: str, room_id: str, pdu: Any, results: dict[str, dict[str, str]]) -> None:
        try:
            room = await self._rooms.get(room_id)
        except UnknownRoom:
            if not await self._retracts(origin, room_id, pdu, results):
                # Without the room nobody knows its version, and so not the event's ID.
                logger.info("%s sent an event of the unknown room %s", origin, room_id)
            return
        rules: RoomRules = room.rules
        try:
            event_id = parse_pdu(pdu, rules, room_id).event_id
        except InvalidEvent as error:
            logger.info("%s sent an invalid event of %s: %s", origin, room_id, error)
            return
        if not has_member_of(room.committed, self._server_name):
            if await self._retracts(origin, room_id, pdu, results):
                return
            results[event_id] = {"error": "This server is not in the room."}
        elif not await self._access.is_allowed(origin, room):
            # ACLs: "Servers MUST ... reject each PDU" of a server that is denied.
            results[event_id] = {"error": "Your server is banned from the room."}
        else:
            refusal = await self._decide(origin, room_id, pdu, rules)
            results[event_id] = {} if refusal is None else {"error": refusal}

    async def _retracts(
        self, origin: str, room_id: str, pdu: Any, results: dict[str, dict[str, str]]
    ) -> bool:
        """Whether it is about an invite or a knock of our user in a room that this server is not in."""
        retracted = await self._retract.receive(origin, room_id, pdu)
        if retracted is None:
            return False
        results[retracted.event_id] = {} if retracted.refusal is None else {"error": retracted.refusal}
        return True

    async def _decide(self, origin: str, room_id: str, pdu: Any, rules: RoomRules) -> str | None:
        try:
            event = await self._check.check(pdu, rules, room_id)
            verdict = await self._receive_pdu.receive(origin, event)
        except (InvalidEvent, InvalidSignature, StateUnavailable, MissingEvents, CommitFailed) as error:
            return str(error)
        except FederationError as error:
            return f"What the event stands on could not be fetched: {error}"
        except UnknownRoom:
            return "This server is not in the room."
        return "The room's rules do not allow the event." if verdict is Verdict.REJECTED else None

    async def _receive_edus(self, origin: str, edus: Sequence[Any]) -> None:
        for edu in edus:
            edu_type = edu.get("edu_type") if isinstance(edu, dict) else None
            content = edu.get("content") if isinstance(edu, dict) else None
            if isinstance(edu_type, str) and isinstance(content, dict):
                await self._edus.receive(origin, edu_type, content)


def _get_list(body: Mapping[str, Any], key: str, most: int) -> list[Any]:
    value = body.get(key, [])
    if not isinstance(value, list):
        raise BadJson(f"'{key}' must be a list.")
    # "transactions are limited to at most 50 PDUs and 100 EDUs"
    if len(value) > most:
        raise BadJson(f"'{key}' may have at most {most} entries.")
    return value


def _by_room(pdus: Sequence[Any]) -> dict[str, list[Any]]:
    rooms: dict[str, list[Any]] = {}
    for pdu in pdus:
        room_id = pdu.get("room_id") if isinstance(pdu, dict) else None
        rooms.setdefault(room_id if isinstance(room_id, str) else "", []).append(pdu)
    return rooms
