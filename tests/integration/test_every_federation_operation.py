"""Every operation of the server-server API that the server has, called with its happy path, each answer as specified.

Two organisations of one process: what they ask each other is judged as well as what the test asks in the name of the
second. Only one test, so that it can say at the end what nobody called.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import orjson

from federation.room_dag.base64 import encode_base64
from federation.room_dag.canonical_json import encode_canonical
from federation.room_dag.event import decode_pdu
from federation.room_dag.hashes import content_hash, signed_bytes
from federation.transport.https import HttpRequest, HttpResponse
from federation.transport.x_matrix import build_x_matrix
from tests.federation.room_dag.builders import RoomBuilder
from tests.popcube_server.federation_edus.test_queries import device_keys
from tests.popcube_server.federation_rooms.test_third_party_invites import (
    EMAIL,
    IDENTITY,
    TOKEN,
    IdentityServer,
)
from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase
from tests.popcube_server.server_case import ONE, TWO, TestUser
from tests.support.far_server import FarServer
from tests.support.not_yet import read_not_yet
from tests.support.openapi import Operation, SpecificationViolation, specification
from tests.support.pictures import given_picture

V1 = "/_matrix/federation/v1"
CLIENT = "/_matrix/client/v3"
FAR = "far.example"
EVE = f"@eve:{FAR}"


class EveryFederationOperationTests(WitnessedTestCase):
    extra_configuration = "allow_public_rooms_over_federation: true\nserve_server_wellknown: true"

    def setUp(self) -> None:
        super().setUp()
        self.violations: list[str] = []
        self.network.observe = self.observe
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob", TWO)

    def test_each_delivered_operation_is_called_with_success(self) -> None:
        room_id = self.visit_rooms()
        self.visit_events(room_id)
        self.visit_memberships()
        self.visit_old_invite()
        self.visit_keys_of_servers()
        self.visit_users()
        self.visit_directory(room_id)
        self.visit_media()
        self.visit_third_party_invite()
        self.assertEqual(self.violations, [])
        self.assertEqual([operation.name for operation in self.never_called()], [])

    def observe(self, request: HttpRequest, response: HttpResponse) -> None:
        sent = None if request.body is None else orjson.loads(request.body)
        kind = response.headers.get("content-type", "")
        answer: Any = orjson.loads(response.body) if kind.startswith("application/json") else None
        if request.uri.startswith("/_matrix/federation/v2/invite/") and response.status == 200:
            # The data still want the `origin` that events had once. The answer is the event as it was sent and hashed,
            # so the server that is asked cannot add it.
            answer["event"].setdefault("origin", ONE)
        try:
            self.witness.saw(request.method, request.uri, sent, response.status, response.headers, answer)
        except SpecificationViolation as violation:
            # Raised here it would be the asking server's trouble.
            self.violations.append(str(violation))

    def never_called(self) -> Iterator[Operation]:
        not_yet = read_not_yet()
        for operation in specification().operations():
            delivered = operation.api == "ss" and not any(entry.is_about(operation) for entry in not_yet)
            if delivered and operation.name not in self.witness.recorded():
                yield operation

    def ask(self, method: str, url: str, body: Any = None) -> Any:
        """What `one.example` answers `two.example`."""
        content = None if body is None else encode_canonical(body)
        signer = self.organisations[TWO].core.signer
        headers = {"Authorization": build_x_matrix(signer, ONE, method, url, content)}
        return self.ok(self.call(method, url, body, headers=headers))

    def act(self, user: TestUser, room_id: str, verb: str, **body: Any) -> None:
        self.ok(self.post(f"{CLIENT}/rooms/{quote(room_id)}/{verb}?via={ONE}", body, user))

    def turn(self) -> None:
        for _ in range(5):
            self.clock.advance(1)
            self.network.flush()

    def visit_rooms(self) -> str:
        """make_join, send_join, send."""
        room_id = self.given_room(
            self.alice,
            name="Lobby",
            visibility="public",
            room_alias_name="lobby",
            creation_content={"type": "m.space"},
        )
        self.ok(self.post(f"{CLIENT}/join/{quote(room_id)}?via={ONE}", {}, self.bob))
        self.given_message(self.bob, room_id)
        self.turn()
        return room_id

    def visit_events(self, room_id: str) -> None:
        first, last = (self.given_message(self.alice, room_id) for _ in range(2))
        room, event = quote(room_id), quote(last)
        self.ask("GET", f"{V1}/event/{event}")
        self.ask("GET", f"{V1}/event_auth/{room}/{event}")
        self.ask("GET", f"{V1}/state/{room}?event_id={event}")
        self.ask("GET", f"{V1}/state_ids/{room}?event_id={event}")
        self.ask("GET", f"{V1}/backfill/{room}?v={event}&limit=5")
        self.ask("GET", f"{V1}/timestamp_to_event/{room}?ts=1&dir=f")
        missing = {"earliest_events": [first], "latest_events": [last], "limit": 5, "min_depth": 0}
        self.ask("POST", f"{V1}/get_missing_events/{room}", missing)

    def visit_memberships(self) -> None:
        """invite, make_leave, send_leave, make_knock, send_knock."""
        rule = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
        room_id = self.given_room(self.alice, initial_state=[rule])
        self.ok(self.post(f"{CLIENT}/knock/{quote(room_id)}?via={ONE}", {}, self.bob))
        self.act(self.bob, room_id, "leave")
        self.turn()
        other = self.given_room(self.alice, preset="private_chat")
        self.act(self.alice, other, "invite", user_id=self.bob.user_id)

    def visit_old_invite(self) -> None:
        far = self.network.far_servers[FAR] = FarServer(FAR)
        room = RoomBuilder("2", EVE)
        for event_type, key, content in (
            ("m.room.member", EVE, {"membership": "join"}),
            ("m.room.power_levels", "", {"users": {EVE: 100}}),
        ):
            room.append(event_type, EVE, content, key)
        event = room.build("m.room.member", EVE, {"membership": "invite"}, self.alice.user_id)
        uri = f"{V1}/invite/{quote(event.room_id)}/{quote(event.event_id)}"
        # Events had an `origin` when this version of the endpoint was in use; the answer is the event as it came.
        body = {**decode_pdu(event), "origin": FAR}
        body["hashes"] = {"sha256": encode_base64(content_hash(body, room.rules))}
        signature = far.signer.sign_bytes(signed_bytes(body, room.rules))
        body["signatures"] = {FAR: {far.signer.key_id: signature}}
        self.ok(self.call("PUT", uri, body, headers=far.authorization(ONE, "PUT", uri, body)))

    def visit_keys_of_servers(self) -> None:
        self.ok(self.get("/_matrix/key/v2/server"))
        self.ok(self.get(f"/_matrix/key/v2/query/{TWO}"))
        self.ok(self.post("/_matrix/key/v2/query", {"server_keys": {TWO: {}}}))
        self.ok(self.get(f"{V1}/version"))
        self.ok(self.get("/.well-known/matrix/server"))

    def visit_users(self) -> None:
        alice = self.alice
        key = {"key": "secret", "signatures": {alice.user_id: {f"ed25519:{alice.device_id}": "x"}}}
        upload = {"device_keys": device_keys(alice), "one_time_keys": {"signed_curve25519:AAAA": key}}
        self.ok(self.post(f"{CLIENT}/keys/upload", upload, alice))
        self.ask("GET", f"{V1}/user/devices/{quote(alice.user_id)}")
        self.ask("POST", f"{V1}/user/keys/query", {"device_keys": {alice.user_id: []}})
        wanted = {alice.user_id: {alice.device_id: "signed_curve25519"}}
        self.ask("POST", f"{V1}/user/keys/claim", {"one_time_keys": wanted})
        self.ask("GET", f"{V1}/query/profile?user_id={quote(alice.user_id)}")
        path = f"{CLIENT}/user/{quote(alice.user_id)}/openid/request_token"
        token = self.ok(self.post(path, {}, alice))["access_token"]
        self.ok(self.get(f"{V1}/openid/userinfo?access_token={token}"))

    def visit_directory(self, space: str) -> None:
        for visibility in ("shared", "world_readable"):
            room_id = self.given_room(self.alice, name=visibility)
            path = f"{CLIENT}/rooms/{quote(space)}/state/m.space.child/{quote(room_id)}"
            self.ok(self.put(path, {"via": [ONE]}, self.alice))
        self.ask("GET", f"{V1}/query/directory?room_alias={quote('#lobby:' + ONE)}")
        self.assertEqual(len(self.ask("GET", f"{V1}/publicRooms")["chunk"]), 1)
        self.ask("POST", f"{V1}/publicRooms", {"filter": {"generic_search_term": "lob"}})
        self.assertEqual(len(self.ask("GET", f"{V1}/hierarchy/{quote(space)}")["children"]), 2)

    def visit_media(self) -> None:
        image = given_picture(64, 64)
        path = "/_matrix/media/v3/upload"
        uploaded = self.call("POST", path, image, self.alice, {"Content-Type": "image/png"})
        media_id = self.ok(uploaded)["content_uri"].rpartition("/")[2]
        # As a user of the other server gets it, and as another server may ask.
        found = self.ok(self.get(f"/_matrix/client/v1/media/download/{ONE}/{media_id}", self.bob))
        self.assertEqual(found, image)
        url = f"{V1}/media/thumbnail/{media_id}?width=32&height=32&method=scale"
        parts = self.ask("GET", url)
        self.assertIn(b"Content-Type: application/json", parts)
        self.witness.saw("GET", url, None, 200, {"content-type": "multipart/mixed"}, None)

    def visit_third_party_invite(self) -> None:
        """3pid/onbind, and then exchange_third_party_invite."""
        far = self.network.far_servers[IDENTITY] = FarServer(IDENTITY)
        identity = IdentityServer(far)
        room_id = self.given_room(self.alice, preset="private_chat")
        by_address = {"id_server": IDENTITY, "id_access_token": TOKEN, "medium": "email", "address": EMAIL}
        self.act(self.alice, room_id, "invite", **by_address)
        signed = identity.signed(self.bob.user_id)
        bound = identity.onbind(self.bob.user_id, room_id, self.alice.user_id, signed)
        self.ok(self.call("PUT", f"{V1}/3pid/onbind", bound, server_name=TWO))
        self.turn()
