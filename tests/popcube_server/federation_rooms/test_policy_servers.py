"""Rooms with a policy server: what is sent into them, and what comes from others."""

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import orjson
from nacl.signing import SigningKey

from federation.room_dag.base64 import encode_base64
from federation.room_dag.event import Event, decode_pdu, parse_event
from federation.room_dag.hashes import signed_bytes
from federation.room_dag.room_versions import get_room_rules
from federation.room_dag.signing import EventSigner
from tests.popcube_server.federation_rooms.memberships_case import FAR, ONE, TWO, V3, MembershipsCase
from tests.popcube_server.server_case import TestUser
from tests.support.far_server import FarCall, FarServer, Refused

POLICY = "policy.example"
BOT = f"@bot:{POLICY}"
EVE = f"@eve:{FAR}"
KEY_ID = "ed25519:policy_server"


class PolicySigner:
    """What a policy server does: `refuses` says which contents it does not want."""

    def __init__(self, far: FarServer, version: str) -> None:
        self.far = far
        self.rules = get_room_rules(version)
        self.signer = EventSigner(far.name, KEY_ID, SigningKey(b"p" * 32))
        self.refused: str | None = None
        self.seen: list[Any] = []
        far.answers["policy/sign"] = self.answer

    def content(self) -> dict[str, Any]:
        return {"via": self.far.name, "public_keys": {"ed25519": self.signer.verify_key_base64}}

    def answer(self, call: FarCall) -> Any:
        self.seen.append(call.body)
        if self.refused is not None and self.refused in str(call.body["content"]):
            raise Refused(400, "M_FORBIDDEN", "That is spam.")
        return {self.far.name: {KEY_ID: self.sign(call.body)}}

    def sign(self, pdu: Any) -> str:
        return self.signer.sign_bytes(signed_bytes(pdu, self.rules))

    def signed(self, event: Event) -> Event:
        pdu = decode_pdu(event)
        pdu["signatures"].setdefault(self.far.name, {})[KEY_ID] = self.sign(pdu)
        return replace(event, json=orjson.dumps(pdu))


class PolicyServersTests(MembershipsCase):
    version = "12"

    def setUp(self) -> None:
        super().setUp()
        self.policy_far = self.given_far(POLICY)
        self.policy = PolicySigner(self.policy_far, self.version)
        self.far = self.given_far()

    def given_policed(self) -> str:
        room_id = self.given_room(self.alice, room_version=self.version)
        self.ok(self.member_as(self.policy_far, "join", room_id, BOT))
        self.ok(self.set_state(self.alice, room_id, "m.room.policy", self.policy.content()))
        self.policy.seen.clear()
        return room_id

    def say(self, user: TestUser, room_id: str, text: str, txn_id: str) -> tuple[int, Any]:
        path = self.room_path(room_id, f"send/m.room.message/{txn_id}")
        return self.put(path, {"msgtype": "m.text", "body": text}, user)

    def messages(self, user: TestUser, room_id: str) -> list[str]:
        chunk = self.ok(self.get(self.room_path(room_id, "messages?dir=b&limit=50"), user))["chunk"]
        return [each["content"].get("body", "") for each in chunk if each["type"] == "m.room.message"]

    def stored(self, event_id: str, server_name: str = ONE) -> Any:
        """The PDU as it is stored."""
        database = self.organisations[server_name].core.database
        json = database.read_now(
            lambda tx: tx.value("SELECT json FROM events WHERE event_id = ?", (event_id,))
        )
        return orjson.loads(json)

    def said_by_eve(self, room_id: str, text: str) -> Event:
        return self.said_by(self.far, EVE, room_id, text)

    def said_by(self, far: FarServer, user_id: str, room_id: str, text: str) -> Event:
        """A message of a user of a far server, made from the template of a leave."""
        answer = self.ok(self.template_as(far, "leave", room_id, user_id))
        event = self.built_as(far, answer)
        pdu = decode_pdu(event)
        auth = [each for each in pdu["auth_events"] if self.stored(each)["type"] != "m.room.join_rules"]
        template = {
            **answer["event"],
            "type": "m.room.message",
            "content": {"msgtype": "m.text", "body": text},
            "auth_events": auth,
            "state_key": None,
        }
        return self.built_as(far, {"room_version": self.version, "event": template})

    def test_messages_are_signed_before_they_are_sent(self) -> None:
        room_id = self.given_policed()
        event_id = self.ok(self.say(self.alice, room_id, "hello", "t1"))["event_id"]
        signatures = self.stored(event_id)["signatures"]
        self.assertIn(KEY_ID, signatures[POLICY])
        self.assertIn(ONE, signatures)
        self.assertEqual(len(self.policy.seen), 1)
        self.assertEqual(self.messages(self.alice, room_id), ["hello"])
        # The same request again is the same event, and nobody is asked.
        self.assertEqual(self.ok(self.say(self.alice, room_id, "hello", "t1"))["event_id"], event_id)
        self.assertEqual(len(self.policy.seen), 1)
        timeline = self.sync(self.alice)["rooms"]["join"][room_id]["timeline"]["events"]
        self.assertEqual(timeline[-1]["unsigned"]["transaction_id"], "t1")

    def test_refusal_is_told_as_it_is_and_nothing_is_sent(self) -> None:
        room_id = self.given_policed()
        self.policy.refused = "spam"
        answer = self.say(self.alice, room_id, "buy spam", "t1")
        self.assert_refused(answer, 400, "M_FORBIDDEN")
        self.assertEqual(answer[1]["error"], "That is spam.")
        self.ok(self.say(self.alice, room_id, "ham", "t2"))
        self.assertEqual(self.messages(self.alice, room_id), ["ham"])

    def test_state_and_memberships_are_asked_about_too(self) -> None:
        room_id = self.given_policed()
        self.ok(self.set_state(self.alice, room_id, "m.room.topic", {"topic": "fish"}))
        self.ok(self.set_state(self.alice, room_id, "m.room.topic", {"topic": "fish"}))
        self.policy.refused = "'ban'"
        self.assert_refused(self.put_out(self.alice, room_id, EVE, "ban"), 400, "M_FORBIDDEN")
        self.assertEqual([each["type"] for each in self.policy.seen], ["m.room.topic", "m.room.member"])
        self.assertIsNone(self.membership(self.alice, room_id, EVE))

    def test_policy_itself_is_changed_without_asking(self) -> None:
        room_id = self.given_policed()
        self.network.down.add(POLICY)
        answer = self.patiently("PUT", self.room_path(room_id, "send/x/t1"), {}, self.alice, 15)
        self.assert_refused(answer, 502, "M_UNKNOWN")
        self.ok(self.set_state(self.alice, room_id, "m.room.policy", {}))
        self.ok(self.say(self.alice, room_id, "free", "t2"))
        self.assertEqual(self.policy.seen, [])

    def test_server_that_is_not_in_the_room_is_not_asked(self) -> None:
        room_id = self.given_policed()
        self.ok(self.member_as(self.policy_far, "leave", room_id, BOT))
        self.policy.seen.clear()
        self.ok(self.say(self.alice, room_id, "alone", "t1"))
        self.assertEqual(self.policy.seen, [])

    def test_content_that_is_none_means_no_policy_server(self) -> None:
        room_id = self.given_policed()
        wrong: list[Any] = [
            {"via": POLICY},
            {"via": 1, "public_keys": {"ed25519": "x"}},
            {"via": POLICY, "public_keys": {"ed25519": "!"}},
            {"via": POLICY, "public_keys": {"ed25519": encode_base64(b"short")}},
            {"via": POLICY, "public_keys": []},
        ]
        for number, content in enumerate(wrong):
            self.ok(self.set_state(self.alice, room_id, "m.room.policy", content))
            self.ok(self.say(self.alice, room_id, "unwatched", f"t{number}"))
        self.assertEqual(self.policy.seen, [])

    def test_silent_policy_server_is_waited_for_ten_seconds(self) -> None:
        room_id = self.given_policed()
        self.network.silent.add(POLICY)
        path = self.room_path(room_id, "send/m.room.message/t1")
        pending = self.begin("PUT", path, {"msgtype": "m.text", "body": "hello"}, self.alice)
        self.clock.advance(9)
        self.assert_waiting(pending)
        self.clock.advance(2)
        self.assert_refused(self.finish(pending), 502, "M_UNKNOWN")
        self.assertEqual(self.messages(self.alice, room_id), [])

    def test_nobody_is_held_by_a_server_that_is_away(self) -> None:
        room_id = self.given_policed()
        carol = self.given_user("carol")
        self.given_joined(carol, room_id)
        self.network.down.add(POLICY)
        self.ok(self.patiently("POST", self.room_path(room_id, "leave"), {}, carol, 15))
        self.assertEqual(self.membership(self.alice, room_id, carol.user_id), "leave")

    def test_wrong_signature_is_not_a_recommendation(self) -> None:
        room_id = self.given_policed()
        for answer in ({}, {POLICY: {KEY_ID: "A" * 86}}, {FAR: {KEY_ID: "A" * 86}}, {POLICY: 3}):
            self.policy_far.answers["policy/sign"] = lambda call, answer=answer: answer  # type: ignore[misc]
            self.assert_refused(self.say(self.alice, room_id, "hello", "t1"), 502, "M_UNKNOWN")
        self.assertEqual(self.messages(self.alice, room_id), [])

    def test_event_that_comes_signed_is_shown(self) -> None:
        room_id = self.given_policed()
        self.ok(self.member_as(self.far, "join", room_id, EVE))
        self.policy.seen.clear()
        event = self.policy.signed(self.said_by_eve(room_id, "signed"))
        self.assertEqual(self.send_as(self.far, event), {event.event_id: {}})
        self.assertEqual(self.messages(self.alice, room_id), ["signed"])
        self.assertEqual(self.policy.seen, [])

    def test_event_that_comes_unsigned_is_asked_about(self) -> None:
        room_id = self.given_policed()
        self.ok(self.member_as(self.far, "join", room_id, EVE))
        self.policy.refused = "spam"
        ham = self.said_by_eve(room_id, "ham")
        self.assertEqual(self.send_as(self.far, ham), {ham.event_id: {}})
        # Who asks for it later gets it with the signature.
        self.assertIn(KEY_ID, self.stored(ham.event_id)["signatures"][POLICY])
        spam = self.said_by_eve(room_id, "buy spam")
        self.assertEqual(self.send_as(self.far, spam), {spam.event_id: {}})
        self.assertEqual(self.messages(self.alice, room_id), ["ham"])
        asked = len(self.policy.seen)
        self.assertEqual(self.send_as(self.far, spam), {spam.event_id: {}})
        self.assertEqual(self.messages(self.alice, room_id), ["ham"])
        self.assertEqual(len(self.policy.seen), asked)

    def test_recommendation_is_no_signature_of_the_sender(self) -> None:
        key = {"key": self.policy.signer.verify_key_base64}
        self.policy_far.more_keys[KEY_ID] = key
        room_id = self.given_policed()
        good = self.policy.signed(self.said_by(self.policy_far, BOT, room_id, "by the bot"))
        pdu = decode_pdu(good)
        del pdu["signatures"][POLICY]["ed25519:test"]
        self.assertEqual(list(pdu["signatures"][POLICY]), [KEY_ID])
        bare = replace(good, json=orjson.dumps(pdu))
        self.assertIn("error", self.send_as(self.policy_far, bare)[bare.event_id])
        self.assertEqual(self.send_as(self.policy_far, good), {good.event_id: {}})
        self.assertEqual(self.messages(self.alice, room_id), ["by the bot"])
        # Beside its own signature the recommendation is kept.
        self.assertEqual(set(self.stored(good.event_id)["signatures"][POLICY]), {KEY_ID, "ed25519:test"})

    def test_signature_by_an_old_key_is_replaced(self) -> None:
        room_id = self.given_policed()
        self.ok(self.member_as(self.far, "join", room_id, EVE))
        event = self.policy.signed(self.said_by_eve(room_id, "old"))
        self.policy.signer = EventSigner(POLICY, KEY_ID, SigningKey(b"q" * 32))
        self.ok(self.set_state(self.alice, room_id, "m.room.policy", self.policy.content()))
        self.assertEqual(self.send_as(self.far, event), {event.event_id: {}})
        self.assertEqual(self.messages(self.alice, room_id), ["old"])
        expected = self.policy.sign(decode_pdu(event))
        self.assertEqual(self.stored(event.event_id)["signatures"][POLICY][KEY_ID], expected)

    def test_unsigned_event_is_not_shown_while_the_policy_server_is_away(self) -> None:
        room_id = self.given_policed()
        self.ok(self.member_as(self.far, "join", room_id, EVE))
        event = self.said_by_eve(room_id, "unseen")
        self.network.down.add(POLICY)
        self.assertEqual(self.send_as(self.far, event), {event.event_id: {}})
        self.assertEqual(self.messages(self.alice, room_id), [])

    def test_join_through_us_is_asked_about(self) -> None:
        room_id = self.given_policed()
        self.policy.refused = "'join'"
        self.assert_refused(self.member_as(self.far, "join", room_id, EVE), 403, "M_FORBIDDEN")
        self.assertIsNone(self.membership(self.alice, room_id, EVE))
        self.policy.refused = None
        # The same event again is refused as before; another one is another question.
        self.assert_refused(self.member_as(self.far, "join", room_id, EVE), 403, "M_FORBIDDEN")
        self.clock.advance(1)
        answer = self.ok(self.member_as(self.far, "join", room_id, EVE))
        self.assertIn(KEY_ID, answer["event"]["signatures"][POLICY])
        parse_event(answer["event"], get_room_rules(self.version))

    def test_second_organisation_sends_and_receives(self) -> None:
        room_id = self.given_policed()
        self.ok(self.join(self.bob, room_id))
        event_id = self.ok(self.say(self.bob, room_id, "from afar", "t1"))["event_id"]
        self.wait()
        self.assertEqual(self.messages(self.alice, room_id), ["from afar"])
        self.assertEqual(self.stored(event_id), self.stored(event_id, TWO))
        self.policy.refused = "spam"
        self.assert_refused(self.say(self.bob, room_id, "spam", "t2"), 400, "M_FORBIDDEN")
        self.ok(self.say(self.alice, room_id, "back", "t3"))
        self.wait()
        self.assertEqual(self.messages(self.bob, room_id), ["back", "from afar"])

    def test_invite_is_signed_before_the_invited_server_sees_it(self) -> None:
        room_id = self.given_policed()
        self.ok(self.invite(self.alice, room_id, self.bob.user_id))
        self.ok(self.join(self.bob, room_id))
        self.policy.refused = "'invite'"
        answer = self.invite(self.alice, room_id, f"@carol:{TWO}")
        self.assert_refused(answer, 400, "M_FORBIDDEN")

    def test_this_server_is_none(self) -> None:
        uri = "/_matrix/policy/v1/sign"
        answer = self.ask_as(self.far, "POST", uri, {"type": "x"})
        self.assert_refused(answer, 404, "M_UNRECOGNIZED")
        room_id = self.given_room(self.alice)
        content = {"via": ONE, "public_keys": {"ed25519": self.policy.signer.verify_key_base64}}
        self.ok(self.set_state(self.alice, room_id, "m.room.policy", content))
        self.assert_refused(self.say(self.alice, room_id, "hello", "t1"), 502, "M_UNKNOWN")
        status, body = self.get(f"{V3}/rooms/{quote(room_id)}/state/m.room.policy", self.alice)
        self.assertEqual((status, body), (200, content))


class OldRoomPolicyTests(PolicyServersTests):
    version = "6"
