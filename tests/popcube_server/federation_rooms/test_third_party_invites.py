"""Invites by e-mail address, from the client's request to the join of whoever turns out to have the address."""

from hashlib import sha256
from typing import Any
from urllib.parse import quote

from nacl.signing import SigningKey

from federation.room_dag.base64 import encode_base64_url_safe
from federation.room_dag.signing import EventSigner
from tests.popcube_server.federation_rooms.memberships_case import ONE, TWO, V1, V3, MembershipsCase
from tests.popcube_server.server_case import NO_LIMITS, TestUser
from tests.support.far_server import FarCall, FarServer, Refused

IDENTITY = "id.example"
EMAIL = "bob@mail.example"
TOKEN = "token for the identity server"


class IdentityServer:
    """The least that an identity server does."""

    def __init__(self, far: FarServer) -> None:
        self.far = far
        self.key = EventSigner(far.name, "ed25519:0", SigningKey(b"i" * 32))
        self.ephemeral = EventSigner(far.name, "ed25519:1", SigningKey(b"e" * 32))
        self.bound: dict[str, str] = {}
        self.stored: list[Any] = []
        self.pepper = "salt"
        self.is_valid = True
        self.algorithms = ["none", "sha256"]
        far.answers["identity/hash_details"] = lambda call: self.authorized(
            call, {"algorithms": self.algorithms, "lookup_pepper": self.pepper}
        )
        far.answers["identity/lookup"] = self.lookup
        far.answers["identity/store-invite"] = self.store
        far.answers["identity/pubkey/isvalid"] = lambda call: {"valid": self.is_valid}
        far.answers["identity/pubkey/ephemeral/isvalid"] = lambda call: {"valid": self.is_valid}

    def authorized(self, call: FarCall, answer: Any) -> Any:
        if call.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Refused(401, "M_UNAUTHORIZED")
        return answer

    def lookup(self, call: FarCall) -> Any:
        if call.body["pepper"] != self.pepper:
            raise Refused(400, "M_INVALID_PEPPER")
        mappings = {}
        for address, user_id in self.bound.items():
            plain = f"{address} email"
            hashed = encode_base64_url_safe(sha256(f"{plain} {self.pepper}".encode()).digest())
            wanted = hashed if call.body["algorithm"] == "sha256" else plain
            if wanted in call.body["addresses"]:
                mappings[wanted] = user_id
        return self.authorized(call, {"mappings": mappings})

    def store(self, call: FarCall) -> Any:
        self.stored.append(call.body)
        base = f"https://{self.far.name}/_matrix/identity/v2/pubkey/"
        answer = {
            "token": f"invite{len(self.stored)}",
            "display_name": "b...@m...",
            "public_keys": [
                {"public_key": self.key.verify_key_base64, "key_validity_url": base + "isvalid"},
                {
                    "public_key": self.ephemeral.verify_key_base64,
                    "key_validity_url": base + "ephemeral/isvalid",
                },
            ],
        }
        return self.authorized(call, answer)

    def signed(self, user_id: str, token: str = "invite1") -> Any:
        return self.key.sign_json({"mxid": user_id, "sender": "@alice:one.example", "token": token})

    def onbind(self, user_id: str, room_id: str, sender: str, signed: Any) -> Any:
        invite = {
            "medium": "email",
            "address": EMAIL,
            "mxid": user_id,
            "room_id": room_id,
            "sender": sender,
            "signed": signed,
        }
        return {"medium": "email", "address": EMAIL, "mxid": user_id, "invites": [invite]}


class ThirdPartyCase(MembershipsCase):
    limits = NO_LIMITS + "\nrc_third_party_invite: {per_second: 10000, burst_count: 10000}\n"

    def setUp(self) -> None:
        super().setUp()
        self.far = self.given_far(IDENTITY)
        self.identity = IdentityServer(self.far)

    def invite_email(self, user: TestUser, room_id: str, **changes: Any) -> tuple[int, Any]:
        body = {
            "id_server": IDENTITY,
            "id_access_token": TOKEN,
            "medium": "email",
            "address": EMAIL,
            **changes,
        }
        body = {key: value for key, value in body.items() if value is not None}
        return self.post(self.room_path(room_id, "invite"), body, user)

    def bind(self, user: TestUser, room_id: str, **changes: Any) -> tuple[int, Any]:
        body = self.identity.onbind(
            user.user_id, room_id, self.alice.user_id, self.identity.signed(user.user_id)
        )
        body["invites"][0].update(changes)
        return self.call("PUT", f"{V1}3pid/onbind", body, server_name=user.server_name)

    def third_party_invite(self, room_id: str, token: str = "invite1") -> tuple[int, Any]:
        return self.get(self.room_path(room_id, f"state/m.room.third_party_invite/{token}"), self.alice)


class InviteByAddressTests(ThirdPartyCase):
    def test_known_address_invites_its_user(self) -> None:
        self.identity.bound[EMAIL] = self.bob.user_id
        for algorithms in (["sha256"], ["none"]):
            self.identity.algorithms = algorithms
            room_id = self.given_room(self.alice, preset="private_chat")
            self.ok(self.invite_email(self.alice, room_id, address="Bob@Mail.Example"))
            self.assertIn(room_id, self.synced_rooms(self.bob, "invite"))
        self.assertEqual(self.identity.stored, [])

    def test_unknown_address_is_left_with_the_identity_server(self) -> None:
        room_id = self.given_room(self.alice, preset="private_chat", name="Den")
        self.ok(self.invite_email(self.alice, room_id))
        content = self.ok(self.third_party_invite(room_id))
        self.assertEqual(content["display_name"], "b...@m...")
        self.assertEqual(content["public_key"], self.identity.key.verify_key_base64)
        self.assertEqual(len(content["public_keys"]), 2)
        stored = self.identity.stored[0]
        self.assertEqual(
            (stored["room_id"], stored["sender"], stored["room_name"], stored["address"]),
            (room_id, self.alice.user_id, "Den", EMAIL),
        )
        self.assertNotIn(EMAIL, str(content))

    def test_new_room_invites_by_address(self) -> None:
        invite = {"id_server": IDENTITY, "id_access_token": TOKEN, "medium": "email", "address": EMAIL}
        room_id = self.given_room(self.alice, preset="private_chat", invite_3pid=[invite])
        self.ok(self.third_party_invite(room_id))
        self.identity.bound[EMAIL] = self.bob.user_id
        direct = self.given_room(self.alice, preset="private_chat", invite_3pid=[invite], is_direct=True)
        path = self.room_path(direct, f"state/m.room.member/{self.bob.user_id}")
        self.assertIs(self.ok(self.get(path, self.alice))["is_direct"], True)
        away = {**invite, "id_server": "gone.example"}
        room_id = self.given_room(self.alice, preset="private_chat", invite_3pid=[away])
        self.assertEqual(self.third_party_invite(room_id)[0], 404)
        answer = self.post(f"{V3}/createRoom", {"invite_3pid": [{"medium": "email"}]}, self.alice)
        self.assert_refused(answer, 400, "M_MISSING_PARAM")

    def test_pepper_that_changed_in_between_is_taken_anew(self) -> None:
        self.identity.bound[EMAIL] = self.bob.user_id
        real = self.far.answers["identity/lookup"]

        def change(call: FarCall) -> Any:
            self.identity.pepper = "pepper"
            self.far.answers["identity/lookup"] = real
            return real(call)

        self.far.answers["identity/lookup"] = change
        room_id = self.given_room(self.alice, preset="private_chat")
        self.ok(self.invite_email(self.alice, room_id))
        self.assertEqual(self.membership(self.alice, room_id, self.bob.user_id), "invite")

    def test_address_bound_in_between_invites_its_user(self) -> None:
        def in_use(call: FarCall) -> Any:
            refused = Refused(400, "M_THREEPID_IN_USE")
            refused.body["mxid"] = self.bob.user_id
            raise refused

        self.far.answers["identity/store-invite"] = in_use
        room_id = self.given_room(self.alice, preset="private_chat")
        self.ok(self.invite_email(self.alice, room_id))
        self.assertEqual(self.membership(self.alice, room_id, self.bob.user_id), "invite")

    def test_who_may_not_invite_tells_the_identity_server_nothing(self) -> None:
        room_id = self.given_room(self.alice)
        carol = self.given_user("carol")
        self.assert_refused(self.invite_email(carol, room_id), 403, "M_FORBIDDEN")
        self.given_joined(carol, room_id)
        self.assert_refused(self.invite_email(carol, room_id), 403, "M_FORBIDDEN")
        self.assert_refused(self.invite_email(self.alice, "!none:one.example"), 403, "M_FORBIDDEN")
        self.assertEqual(self.far.asked, [])

    def test_wrong_requests_are_refused(self) -> None:
        room_id = self.given_room(self.alice)
        for key in ("id_server", "id_access_token", "address"):
            answer = self.invite_email(self.alice, room_id, **{key: None})
            self.assert_refused(answer, 400, "M_MISSING_PARAM")
        wrong: list[dict[str, Any]] = [
            {"medium": "pigeon"},
            {"address": "nobody"},
            {"address": f"a@{'x' * 400}"},
            {"id_access_token": "a\nb"},
        ]
        for changes in wrong:
            self.assert_refused(self.invite_email(self.alice, room_id, **changes), 400, "M_INVALID_PARAM")
        self.assertEqual(self.far.asked, [])

    def test_identity_server_of_no_use_is_an_error_and_leaves_nothing(self) -> None:
        room_id = self.given_room(self.alice)
        before = self.state(self.alice, room_id)
        for server in ("gone.example", "not a name", f"{IDENTITY}/path", "", f"x@{IDENTITY}", f"{IDENTITY}#"):
            answer = self.invite_email(self.alice, room_id, id_server=server)
            self.assert_refused(answer, 502, "M_UNKNOWN")
        answers: list[Any] = [
            {},
            [],
            {"token": "", "display_name": "x", "public_keys": []},
            {"token": "t", "display_name": "x", "public_keys": [{"public_key": "short"}]},
            {"token": "t", "display_name": 3, "public_key": self.identity.key.verify_key_base64},
            {
                "token": "t",
                "display_name": "x",
                "public_keys": [
                    {
                        "public_key": self.identity.key.verify_key_base64,
                        "key_validity_url": "http://plain.example",
                    }
                ],
            },
        ]
        for answer in answers:
            self.far.answers["identity/store-invite"] = lambda call, answer=answer: answer  # type: ignore[misc]
            self.assert_refused(self.invite_email(self.alice, room_id), 502, "M_UNKNOWN")
        self.assertEqual(self.state(self.alice, room_id), before)

    def test_refusals_of_the_identity_server_are_told_and_log_nobody_out(self) -> None:
        room_id = self.given_room(self.alice)
        answer = self.invite_email(self.alice, room_id, id_access_token="wrong")
        self.assert_refused(answer, 403, "M_UNAUTHORIZED")

        def terms(call: FarCall) -> Any:
            raise Refused(403, "M_TERMS_NOT_SIGNED")

        self.far.answers["identity/hash_details"] = terms
        self.assert_refused(self.invite_email(self.alice, room_id), 403, "M_TERMS_NOT_SIGNED")


class ExchangeTests(ThirdPartyCase):
    def given_invited(self, version: str = "12") -> str:
        room_id = self.given_room(self.alice, preset="private_chat", room_version=version)
        self.ok(self.invite_email(self.alice, room_id))
        return room_id

    def test_address_bound_to_a_user_of_another_server_becomes_an_invite(self) -> None:
        for number, version in enumerate(("1", "6", "10", "12"), 1):
            room_id = self.given_invited(version)
            signed = self.identity.signed(self.bob.user_id, f"invite{number}")
            self.ok(self.bind(self.bob, room_id, signed=signed))
            self.assertIn(room_id, self.synced_rooms(self.bob, "invite"), version)
            path = self.room_path(room_id, f"state/m.room.member/{self.bob.user_id}")
            content = self.ok(self.get(path, self.alice))
            self.assertEqual(content["third_party_invite"]["display_name"], "b...@m...")
            self.assertIn("identity/pubkey/isvalid", self.far.asked)
            self.ok(self.join(self.bob, room_id))
            both = {self.alice.user_id, self.bob.user_id}
            self.assertEqual(self.members(self.alice, room_id), both, version)
            self.assertEqual(self.members(self.bob, room_id), both, version)

    def test_address_bound_to_a_user_here_becomes_an_invite(self) -> None:
        room_id = self.given_invited()
        carol = self.given_user("carol")
        self.ok(self.bind(carol, room_id))
        self.assertIn(room_id, self.synced_rooms(carol, "invite"))
        self.assertEqual(self.members(self.alice, room_id), {self.alice.user_id})
        # Told twice, it is the same invite.
        state = self.state(self.alice, room_id)
        self.ok(self.bind(carol, room_id))
        self.assertEqual(self.state(self.alice, room_id), state)

    def test_key_that_is_not_valid_any_more_invites_nobody(self) -> None:
        room_id = self.given_invited()
        self.identity.is_valid = False
        self.ok(self.bind(self.bob, room_id))
        self.assertIsNone(self.membership(self.alice, room_id, self.bob.user_id))
        self.identity.is_valid = True
        self.network.down.add(IDENTITY)
        self.ok(self.bind(self.bob, room_id))
        self.assertIsNone(self.membership(self.alice, room_id, self.bob.user_id))
        self.network.down.clear()
        self.ok(self.bind(self.bob, room_id))
        self.assertEqual(self.membership(self.alice, room_id, self.bob.user_id), "invite")

    def test_invite_that_was_withdrawn_invites_nobody(self) -> None:
        room_id = self.given_invited()
        path = self.room_path(room_id, "state/m.room.third_party_invite/invite1")
        self.ok(self.put(path, {}, self.alice))
        self.ok(self.bind(self.bob, room_id))
        self.assertIsNone(self.membership(self.alice, room_id, self.bob.user_id))

    def test_banned_user_is_not_invited(self) -> None:
        room_id = self.given_invited()
        self.ok(self.put_out(self.alice, room_id, self.bob.user_id, "ban"))
        self.ok(self.bind(self.bob, room_id))
        self.assertEqual(self.membership(self.alice, room_id, self.bob.user_id), "ban")

    def test_forged_signatures_invite_nobody(self) -> None:
        room_id = self.given_invited()
        mallory = EventSigner(IDENTITY, "ed25519:0", SigningKey(b"m" * 32))
        good = self.identity.signed(self.bob.user_id)
        forged = [
            mallory.sign_json({"mxid": self.bob.user_id, "token": "invite1"}),
            {**good, "signatures": {}},
            self.identity.signed(self.bob.user_id, "another"),
            {**self.identity.signed("@carol:two.example"), "mxid": self.bob.user_id},
        ]
        for signed in forged:
            self.ok(self.bind(self.bob, room_id, signed=signed))
            self.assertIsNone(self.membership(self.alice, room_id, self.bob.user_id))
        # By whom, and into which room, is not for the caller to choose either.
        other = self.given_room(self.alice, preset="private_chat")
        self.ok(self.bind(self.bob, other))
        self.assertIsNone(self.membership(self.alice, other, self.bob.user_id))
        carol = self.given_user("carol")
        self.ok(self.bind(self.bob, room_id, sender=carol.user_id))
        self.assertIsNone(self.membership(self.alice, room_id, self.bob.user_id))

    def test_only_the_invited_users_server_may_exchange(self) -> None:
        room_id = self.given_invited()
        eve = self.given_far("eve.example")
        body: dict[str, Any] = {
            "type": "m.room.member",
            "room_id": room_id,
            "sender": self.alice.user_id,
            "state_key": self.bob.user_id,
            "content": {
                "membership": "invite",
                "third_party_invite": {
                    "display_name": "x",
                    "signed": self.identity.signed(self.bob.user_id),
                },
            },
        }
        uri = f"{V1}exchange_third_party_invite/{quote(room_id)}"
        self.assert_refused(self.ask_as(eve, "PUT", uri, body), 403, "M_FORBIDDEN")
        for changes in (
            {"type": "m.room.name"},
            {"room_id": "!other"},
            {"sender": 1},
            {"state_key": "bob"},
            {"content": {"membership": "join"}},
            {"content": {**body["content"], "membership": "join"}},
        ):
            answer = self.ask_as(eve, "PUT", uri, body | changes)
            self.assert_refused(answer, 400, "M_INVALID_PARAM")
        acl = {"allow": ["*"], "deny": ["eve.example"]}
        self.ok(self.set_state(self.alice, room_id, "m.room.server_acl", acl))
        mine = body | {"state_key": "@eve:eve.example"}
        self.assert_refused(self.ask_as(eve, "PUT", uri, mine), 403, "M_FORBIDDEN")
        self.assert_refused(self.call("PUT", uri, body), 401, "M_UNAUTHORIZED")

    def test_wrong_bindings_are_refused(self) -> None:
        uri = f"{V1}3pid/onbind"
        for body, status in (
            ({}, 400),
            ({"mxid": self.alice.user_id, "invites": 3}, 400),
            ({"mxid": self.bob.user_id, "invites": []}, 400),
            ({"mxid": f"@nobody:{ONE}", "invites": []}, 404),
            ({"mxid": self.alice.user_id, "invites": [{}] * 21}, 400),
        ):
            self.assertEqual(self.call("PUT", uri, body)[0], status, body)
        odd = [None, {}, {"room_id": 1}, {"room_id": "!x", "sender": self.alice.user_id, "signed": []}]
        self.ok(self.call("PUT", uri, {"mxid": self.alice.user_id, "invites": odd}))

    def test_servers_that_do_not_answer_are_asked_a_few_at_a_time(self) -> None:
        room_id = "!room:silent.example"
        pending = []
        for number in range(8):
            name = f"silent{number}.example"
            self.network.silent.add(name)
            signed = self.identity.signed(self.bob.user_id)
            body = self.identity.onbind(self.bob.user_id, room_id, f"@eve:{name}", signed)
            pending.append(self.begin("PUT", f"{V1}3pid/onbind", body, server_name=TWO))
        asked = {host for host, _, _ in self.network.requests if host.startswith("silent")}
        self.assertEqual(len(asked), 5)
        for _ in range(3):
            self.clock.advance(61)
        for each in pending:
            self.ok(self.finish(each))
        asked = {host for host, _, _ in self.network.requests if host.startswith("silent")}
        self.assertEqual(len(asked), 8)

    def test_user_who_blocks_invites_gets_none(self) -> None:
        room_id = self.given_invited()
        path = f"{V3}/user/{self.bob.user_id}/account_data/m.invite_permission_config"
        self.ok(self.put(path, {"default_action": "block"}, self.bob))
        self.ok(self.bind(self.bob, room_id))
        self.assertIsNone(self.membership(self.alice, room_id, self.bob.user_id))

    def test_server_in_the_room_invites_while_the_inviters_is_away(self) -> None:
        for number, version in enumerate(("1", "10", "12"), 1):
            room_id = self.given_invited(version)
            dave = self.given_user(f"dave{number}", TWO)
            self.ok(self.invite(self.alice, room_id, dave.user_id))
            self.ok(self.join(dave, room_id))
            self.network.down.add(ONE)
            signed = self.identity.signed(self.bob.user_id, f"invite{number}")
            body = self.identity.onbind(self.bob.user_id, room_id, self.alice.user_id, signed)
            answer = self.patiently("PUT", f"{V1}3pid/onbind", body, self.bob)
            self.ok(answer)
            self.assertIn(room_id, self.synced_rooms(self.bob, "invite"), version)
            self.network.down.clear()
            # The next event of the room brings it to the inviter's server.
            self.ok(self.join(self.bob, room_id))
            self.clock.advance(3600)
            self.given_message(self.alice, room_id)
            self.wait(10)
            self.given_message(dave, room_id)
            self.wait(10)
            self.assertEqual(self.membership(self.alice, room_id, self.bob.user_id), "join", version)

    def test_third_server_takes_the_invite_as_well(self) -> None:
        room_id = self.given_invited()
        carol = self.given_user("carol", TWO)
        self.ok(self.invite(self.alice, room_id, carol.user_id))
        self.ok(self.join(carol, room_id))
        self.ok(self.bind(self.bob, room_id))
        self.wait()
        self.assertEqual(self.membership(carol, room_id, self.bob.user_id), "invite")


class ThirdPartyLimitsTests(ThirdPartyCase):
    limits = NO_LIMITS + "\nrc_third_party_invite: {per_second: 0.1, burst_count: 2}\n"

    def test_users_and_identity_servers_are_limited(self) -> None:
        room_id = self.given_room(self.alice)
        answers = [self.invite_email(self.alice, room_id)[0] for _ in range(3)]
        self.assertEqual(answers, [200, 200, 429])
        answers = [self.bind(self.bob, room_id)[0] for _ in range(3)]
        self.assertEqual(answers, [200, 200, 429])
        self.clock.advance(11)
        self.ok(self.invite_email(self.alice, room_id))
