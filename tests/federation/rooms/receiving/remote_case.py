"""A server of a test that answers from a `RoomBuilder`, and keys that depend on nothing but server names."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from federation.room_dag.event import Event, decode_pdu
from federation.room_dag.hashes import signed_bytes
from federation.room_dag.identifiers import InvalidIdentifier
from federation.room_dag.required_signers import required_signers
from federation.room_dag.signing import InvalidSignature, find_signature, verify_bytes
from federation.rooms.accept_event import AcceptEvent
from federation.rooms.outcomes import NoPushOutcomes
from federation.rooms.policy.ask_policy_server import NoPolicyServers
from federation.rooms.receiving.check_pdu import CheckPdus
from federation.rooms.receiving.fetch_missing import FetchMissing
from federation.rooms.receiving.keep_outliers import KeepOutliers
from federation.rooms.receiving.receive_pdu import ReceivePdu
from federation.rooms.receiving.remote import AskServers
from federation.rooms.take_room import TakeRoom
from federation.transport.errors import HttpRefusal
from federation.turns import FairTurns
from tests.federation.room_dag.builders import RoomBuilder, make_signer
from tests.federation.rooms.engine_case import EngineMixin


class TestKeys:
    """An EventVerifier that knows the keys of the builders."""

    __test__ = False

    async def verify(self, event: Event) -> None:
        pdu = decode_pdu(event)
        try:
            signers = required_signers(event)
        except InvalidIdentifier as error:
            raise InvalidSignature(str(error)) from None
        for server_name in signers:
            signer = make_signer(server_name)
            signature = find_signature(pdu, server_name, signer.key_id)
            if signature is None:
                raise InvalidSignature(f"not signed by {server_name}")
            verify_bytes(signed_bytes(pdu, event.rules), signature, signer.verify_key)

    async def find_invalid(self, events: Iterable[Event]) -> dict[str, InvalidSignature]:
        invalid = {}
        for event in events:
            try:
                await self.verify(event)
            except InvalidSignature as error:
                invalid[event.event_id] = error
        return invalid


class BuilderServer:
    """A RemoteServers whose every server has the whole room. `lies` replaces answers by path; `asked` keeps count."""

    def __init__(self, room: RoomBuilder) -> None:
        self.room = room
        self.asked: list[str] = []
        self.lies: dict[str, Any] = {}
        self.hidden: set[str] = set()

    async def get(
        self, destination: str, path: str, query: Mapping[str, str | Sequence[str]] | None = None
    ) -> dict[str, Any]:
        return self._answer(destination, path, query or {}, {})

    async def put(
        self, destination: str, path: str, body: Any, query: Mapping[str, str | Sequence[str]] | None = None
    ) -> dict[str, Any]:
        return self._answer(destination, path, query or {}, body)

    async def post(
        self, destination: str, path: str, body: Any, query: Mapping[str, str | Sequence[str]] | None = None
    ) -> dict[str, Any]:
        return self._answer(destination, path, query or {}, body)

    def pdus(self, event_ids: Iterable[str]) -> list[dict[str, Any]]:
        return [decode_pdu(self.room.events.get(event_id)) for event_id in event_ids]

    def _answer(
        self, destination: str, path: str, query: Mapping[str, str | Sequence[str]], body: Any
    ) -> dict[str, Any]:
        verb, *arguments = [unquote(part) for part in path.split("/")[4:]]
        self.asked.append(verb)
        if verb in self.lies:
            lie = self.lies[verb]
            answer: dict[str, Any] = lie(arguments, query, body) if callable(lie) else lie
            return answer
        match verb:
            case "get_missing_events":
                return {"events": self.pdus(self._between(body))}
            case "event_auth":
                return {"auth_chain": self.pdus(self._chain([arguments[1]]))}
            case "state_ids":
                state = self._state(str(query["event_id"]))
                return {"pdu_ids": list(state), "auth_chain_ids": list(self._chain(state))}
            case "state":
                state = self._state(str(query["event_id"]))
                return {"pdus": self.pdus(state), "auth_chain": self.pdus(self._chain(state))}
            case "event" if arguments[0] in self.room.events.by_id:
                return {"pdus": self.pdus([arguments[0]])}
            case "backfill":
                return {"pdus": self.pdus(self._back(query["v"], int(str(query["limit"]))))}
        raise HttpRefusal(destination, 404, {"errcode": "M_NOT_FOUND"})

    def _state(self, event_id: str) -> list[str]:
        return list(self.room.state_before(self.room.events.get(event_id).prev_events).values())

    def _chain(self, event_ids: Iterable[str]) -> set[str]:
        chain: set[str] = set()
        pending = list(event_ids)
        while pending:
            event = self.room.events.get(pending.pop())
            needed = list(event.auth_events)
            if not event.rules.room_create_in_auth_events and event.type != "m.room.create":
                needed.append(self.room.create.event_id)
            new = set(needed) - chain
            chain |= new
            pending += new
        return chain

    def _between(self, body: Mapping[str, Any]) -> list[str]:
        found = self._walk(
            [
                prev
                for event_id in body["latest_events"]
                for prev in self.room.events.get(event_id).prev_events
            ],
            set(body["earliest_events"]),
            body["limit"],
        )
        return [
            event_id for event_id in found if self.room.events.get(event_id).depth >= body.get("min_depth", 0)
        ]

    def _back(self, start: str | Sequence[str], limit: int) -> list[str]:
        return self._walk([start] if isinstance(start, str) else start, set(), limit)

    def _walk(self, start: Iterable[str], stop: set[str], limit: int) -> list[str]:
        found: list[str] = []
        pending = list(start)
        while pending and len(found) < limit:
            event_id = pending.pop(0)
            if event_id in found or event_id in stop or event_id in self.hidden:
                continue
            found.append(event_id)
            pending.extend(self.room.events.get(event_id).prev_events)
        return found


class ReceivingMixin(EngineMixin):
    """The engine of `one.example` with everything that receives."""

    def open(self) -> None:
        super().open()
        self.accept_event = AcceptEvent(
            self.rooms, self.events, self.database, self.committer, NoPushOutcomes(), NoPolicyServers()
        )
        self.take_room = TakeRoom(self.rooms, self.events, self.committer)
        self.check = CheckPdus(TestKeys())
        self.keep = KeepOutliers(self.events, self.committer)

    def given_server(self, room: RoomBuilder) -> BuilderServer:
        server = BuilderServer(room)
        self.fetch = FetchMissing(self.rooms, self.events, AskServers(server), self.check, self.keep)
        self.receive_pdu = ReceivePdu(self.accept_event, self.fetch, FairTurns(10, 10), lambda: 0)
        return server

    def given_taken(self, room: RoomBuilder) -> None:
        """Take part in the room from its create event on."""
        self.result(self.take_room.take(room.rules, room.create, {}, ()))
