"""What tests of memberships over federation say in one line: alice of `one.example`, bob of `two.example`."""

from typing import Any
from urllib.parse import quote

from federation.room_dag.event import Event, EventTemplate, build_event, decode_pdu
from federation.room_dag.room_versions import ROOM_VERSIONS, get_room_rules
from tests.federation.room_dag.builders import RoomBuilder
from tests.popcube_server.server_case import ONE, TWO, ServerTestCase, TestUser
from tests.support.far_server import FarServer

V1 = "/_matrix/federation/v1/"
V2 = "/_matrix/federation/v2/"
V3 = "/_matrix/client/v3"
FAR = "far.example"

__all__ = ["FAR", "ONE", "TWO", "V1", "V2", "V3", "MembershipsCase"]


class MembershipsCase(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob", TWO)
        self.transactions = 0

    def given_far(self, name: str = FAR) -> FarServer:
        far = self.network.far_servers[name] = FarServer(name)
        return far

    def wait(self, seconds: int = 5) -> None:
        """Let queues and time-outs go on."""
        for _ in range(seconds):
            self.clock.advance(1)
            self.network.flush()

    def patiently(self, method: str, path: str, body: Any, user: TestUser, seconds: int = 70) -> Any:
        """A request whose answer takes time, because somebody else does not answer."""
        pending = self.begin(method, path, body, user)
        self.wait(seconds)
        return self.finish(pending)

    # What users do

    def room_path(self, room_id: str, verb: str) -> str:
        return f"{V3}/rooms/{quote(room_id)}/{verb}"

    def join(self, user: TestUser, room_id: str, *via: str) -> tuple[int, Any]:
        query = "&".join(f"via={server}" for server in via or (ONE,))
        return self.post(f"{V3}/join/{quote(room_id)}?{query}", {}, user)

    def knock(self, user: TestUser, room_id: str, *via: str) -> tuple[int, Any]:
        query = "&".join(f"via={server}" for server in via or (ONE,))
        return self.post(f"{V3}/knock/{quote(room_id)}?{query}", {"reason": "please"}, user)

    def invite(self, user: TestUser, room_id: str, user_id: str) -> tuple[int, Any]:
        return self.post(self.room_path(room_id, "invite"), {"user_id": user_id}, user)

    def put_out(self, user: TestUser, room_id: str, user_id: str, verb: str = "kick") -> tuple[int, Any]:
        return self.post(self.room_path(room_id, verb), {"user_id": user_id}, user)

    def leave(self, user: TestUser, room_id: str) -> tuple[int, Any]:
        return self.post(self.room_path(room_id, "leave"), {}, user)

    def set_state(self, user: TestUser, room_id: str, event_type: str, content: Any) -> tuple[int, Any]:
        return self.put(self.room_path(room_id, f"state/{event_type}/"), content, user)

    # What users see

    def sync(self, user: TestUser, since: str | None = None) -> Any:
        query = "" if since is None else f"?since={since}"
        return self.ok(self.get(f"{V3}/sync{query}", user))

    def synced_rooms(self, user: TestUser, membership: str, since: str | None = None) -> Any:
        return self.sync(user, since).get("rooms", {}).get(membership, {})

    def members(self, user: TestUser, room_id: str) -> set[str]:
        return set(self.ok(self.get(self.room_path(room_id, "joined_members"), user))["joined"])

    def state(self, user: TestUser, room_id: str) -> set[str]:
        return {event["event_id"] for event in self.ok(self.get(self.room_path(room_id, "state"), user))}

    def membership(self, user: TestUser, room_id: str, other_id: str) -> str | None:
        """As the room's state says."""
        path = self.room_path(room_id, f"state/m.room.member/{quote(other_id)}")
        status, body = self.get(path, user)
        return body["membership"] if status == 200 else None

    # What far servers do

    def ask_as(
        self, far: FarServer, method: str, uri: str, body: Any = None, server_name: str = ONE
    ) -> tuple[int, Any]:
        headers = far.authorization(server_name, method, uri, body)
        return self.call(method, uri, body, headers=headers, server_name=server_name)

    def send_as(self, far: FarServer, *events: Event, server_name: str = ONE) -> dict[str, Any]:
        """PDUs in a transaction; the answer's results."""
        self.transactions += 1
        body = {
            "origin": far.name,
            "origin_server_ts": 1,
            "pdus": [decode_pdu(event) for event in events],
        }
        answer = self.ok(self.ask_as(far, "PUT", f"{V1}send/{self.transactions}", body, server_name))
        results: dict[str, Any] = answer["pdus"]
        return results

    def template_as(
        self, far: FarServer, membership: str, room_id: str, user_id: str, server_name: str = ONE
    ) -> tuple[int, Any]:
        """What make_join, make_knock and make_leave answer."""
        query = "" if membership == "leave" else "?" + "&".join(f"ver={version}" for version in ROOM_VERSIONS)
        uri = f"{V1}make_{membership}/{quote(room_id)}/{quote(user_id)}{query}"
        return self.ask_as(far, "GET", uri, None, server_name)

    def built_as(self, far: FarServer, answer: Any) -> Event:
        """The event that a template makes (room versions from 3 on)."""
        pdu = answer["event"]
        template = EventTemplate(
            type=pdu["type"],
            sender=pdu["sender"],
            room_id=pdu["room_id"],
            state_key=pdu["state_key"],
            content=pdu["content"],
            origin_server_ts=int(self.clock.seconds() * 1000),
            depth=pdu["depth"],
            prev_events=pdu["prev_events"],
            auth_events=pdu["auth_events"],
        )
        return build_event(template, get_room_rules(answer["room_version"]), far.signer)

    def member_as(
        self,
        far: FarServer,
        membership: str,
        room_id: str,
        user_id: str,
        query: str = "",
        server_name: str = ONE,
    ) -> tuple[int, Any]:
        """The whole handshake: joins, knocks or leaves; the last answer."""
        status, answer = self.template_as(far, membership, room_id, user_id, server_name)
        if status != 200:
            return status, answer
        event = self.built_as(far, answer)
        version = "v1" if membership == "knock" else "v2"
        uri = (
            f"/_matrix/federation/{version}/send_{membership}/{quote(room_id)}/{quote(event.event_id)}{query}"
        )
        return self.ask_as(far, "PUT", uri, decode_pdu(event), server_name)

    def invite_as(
        self, far: FarServer, room: RoomBuilder, invite: Event, server_name: str = ONE, **changes: Any
    ) -> tuple[int, Any]:
        """The second version of the invite request; `changes` replace parts of its body."""
        state = [decode_pdu(room.events.get(event_id)) for event_id in room.state.values()]
        body = {
            "room_version": room.rules.version,
            "event": decode_pdu(invite),
            "invite_room_state": state,
            **changes,
        }
        uri = f"{V2}invite/{quote(invite.room_id)}/{quote(invite.event_id)}"
        return self.ask_as(far, "PUT", uri, body, server_name)
