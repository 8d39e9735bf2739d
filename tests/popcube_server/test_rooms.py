"""Rooms through the client-server API: creating, talking, memberships, aliases, upgrades."""

from popcube_server.services.rooms.room_options import PRESETS
from popcube_server.services.rooms.upgrade_room import integer_levels
from tests.popcube_server.server_case import ServerTestCase

V3 = "/_matrix/client/v3"


class RoomTests(ServerTestCase):
    def test_two_people_talk(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        room = self.given_room(alice)
        self.given_joined(bob, room)
        self.assertTrue(self.given_message(bob, room).startswith("$"))

    def test_stranger_may_not_send_and_a_member_may(self) -> None:
        alice, eve = self.given_user("alice"), self.given_user("eve")
        room = self.given_room(alice)
        path = f"{V3}/rooms/{room}/send/m.room.message/1"
        self.assert_refused(self.put(path, {"body": "x"}, eve), 403, "M_FORBIDDEN")
        self.given_joined(eve, room)
        self.ok(self.put(path, {"body": "x"}, eve))

    def test_same_transaction_is_the_same_event_also_after_a_restart(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        first = self.given_message(alice, room, "one", "txn")
        self.assertEqual(self.given_message(alice, room, "two", "txn"), first)
        self.restart()
        self.assertEqual(self.given_message(alice, room, "three", "txn"), first)

    def test_same_transaction_of_the_same_device_is_the_same_event_after_a_new_login(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        first = self.given_message(alice, room, "one", "txn")
        again = self.given_login(alice, alice.device_id)
        self.assertEqual(self.given_message(again, room, "one", "txn"), first)
        other = self.given_login(alice)
        self.assertNotEqual(self.given_message(other, room, "one", "txn"), first)

    def test_room_of_one_organisation_is_unknown_to_the_other(self) -> None:
        alice = self.given_user("alice")
        other = self.given_user("alice", "two.example")
        room = self.given_room(alice)
        self.assert_refused(self.post(f"{V3}/rooms/{room}/join", {}, other), 404, "M_NOT_FOUND")
        path = f"{V3}/rooms/{room}/send/m.room.message/1"
        self.assert_refused(self.put(path, {"body": "x"}, other), 403, "M_FORBIDDEN")

    def test_every_preset_and_version_makes_a_room(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        for version in range(1, 13):
            for preset in PRESETS:
                options = {"room_version": str(version), "preset": preset, "invite": [bob.user_id]}
                room = self.given_room(alice, name="n", topic="t", **options)
                self.ok(self.post(f"{V3}/rooms/{room}/join", {}, bob))

    def test_unknown_version_is_refused(self) -> None:
        alice = self.given_user("alice")
        answer = self.post(f"{V3}/createRoom", {"room_version": "99"}, alice)
        self.assert_refused(answer, 400, "M_UNSUPPORTED_ROOM_VERSION")

    def test_private_room_needs_an_invite(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        room = self.given_room(alice, preset="private_chat")
        self.assert_refused(self.post(f"{V3}/rooms/{room}/join", {}, bob), 403, "M_FORBIDDEN")
        self.ok(self.post(f"{V3}/rooms/{room}/invite", {"user_id": bob.user_id}, alice))
        self.given_joined(bob, room)

    def test_banned_user_stays_out_until_unbanned(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        room = self.given_room(alice)
        self.given_joined(bob, room)
        target = {"user_id": bob.user_id, "reason": "r"}
        self.assert_refused(
            self.post(f"{V3}/rooms/{room}/ban", {"user_id": alice.user_id}, bob), 403, "M_FORBIDDEN"
        )
        self.ok(self.post(f"{V3}/rooms/{room}/ban", target, alice))
        self.assert_refused(self.post(f"{V3}/rooms/{room}/join", {}, bob), 403, "M_FORBIDDEN")
        self.ok(self.post(f"{V3}/rooms/{room}/unban", target, alice))
        self.given_joined(bob, room)
        self.ok(self.post(f"{V3}/rooms/{room}/kick", target, alice))
        self.assert_refused(self.post(f"{V3}/rooms/{room}/kick", target, alice), 403, "M_FORBIDDEN")

    def test_knock_is_let_in_by_an_invite(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        rule = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
        room = self.given_room(alice, preset="private_chat", initial_state=[rule])
        self.ok(self.post(f"{V3}/knock/{room}", {"reason": "please"}, bob))
        self.assert_refused(self.post(f"{V3}/rooms/{room}/join", {}, bob), 403, "M_FORBIDDEN")
        self.ok(self.post(f"{V3}/rooms/{room}/invite", {"user_id": bob.user_id}, alice))
        self.given_joined(bob, room)

    def test_restricted_room_lets_members_of_the_other_room_in(self) -> None:
        alice, bob, eve = self.given_user("alice"), self.given_user("bob"), self.given_user("eve")
        space = self.given_room(alice)
        allow = [{"type": "m.room_membership", "room_id": space}]
        rule = {"type": "m.room.join_rules", "content": {"join_rule": "restricted", "allow": allow}}
        room = self.given_room(alice, preset="private_chat", initial_state=[rule])
        self.given_joined(bob, space)
        self.given_joined(bob, room)
        self.assert_refused(self.post(f"{V3}/rooms/{room}/join", {}, eve), 403, "M_FORBIDDEN")

    def test_leaving_then_forgetting(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        self.assert_refused(self.post(f"{V3}/rooms/{room}/forget", {}, alice), 400, "M_UNKNOWN")
        self.ok(self.post(f"{V3}/rooms/{room}/leave", {}, alice))
        self.ok(self.post(f"{V3}/rooms/{room}/leave", {}, alice))
        self.ok(self.post(f"{V3}/rooms/{room}/forget", {}, alice))

    def test_redaction_of_others_needs_power(self) -> None:
        alice, bob, eve = self.given_user("alice"), self.given_user("bob"), self.given_user("eve")
        room = self.given_room(alice)
        self.given_joined(bob, room)
        self.given_joined(eve, room)
        event = self.given_message(bob, room)
        path = f"{V3}/rooms/{room}/redact/{event}"
        self.assert_refused(self.put(f"{path}/1", {}, eve), 403, "M_FORBIDDEN")
        sent = self.put(f"{V3}/rooms/{room}/send/m.room.redaction/1", {"redacts": event}, eve)
        self.assert_refused(sent, 403, "M_FORBIDDEN")
        self.ok(self.put(f"{path}/2", {}, alice))
        self.ok(self.put(f"{path}/3", {}, bob))

    def test_same_reaction_twice_is_refused(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        event = self.given_message(alice, room)
        content = {"m.relates_to": {"rel_type": "m.annotation", "event_id": event, "key": "+"}}
        first = self.ok(self.put(f"{V3}/rooms/{room}/send/m.reaction/1", content, alice))["event_id"]
        self.assert_refused(
            self.put(f"{V3}/rooms/{room}/send/m.reaction/2", content, alice), 400, "M_DUPLICATE_ANNOTATION"
        )
        self.ok(self.put(f"{V3}/rooms/{room}/redact/{first}/1", {}, alice))
        self.ok(self.put(f"{V3}/rooms/{room}/send/m.reaction/3", content, alice))

    def test_string_power_levels_are_refused_in_every_version(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice, room_version="1")
        path = f"{V3}/rooms/{room}/state/m.room.power_levels"
        self.assert_refused(self.put(path, {"users": {alice.user_id: "100"}}, alice), 400, "M_BAD_JSON")

    def test_alias_leads_to_its_room_and_is_unique(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        room = self.given_room(alice, room_alias_name="lobby")
        other = self.given_room(bob)
        alias = "%23lobby:one.example"
        self.assertEqual(self.ok(self.get(f"{V3}/directory/room/{alias}"))["room_id"], room)
        self.assertEqual(self.ok(self.post(f"{V3}/join/{alias}", {}, bob))["room_id"], room)
        path = f"{V3}/directory/room/{alias}"
        self.assertEqual(self.put(path, {"room_id": other}, bob)[0], 409)
        answer = self.post(f"{V3}/createRoom", {"room_alias_name": "lobby"}, bob)
        self.assert_refused(answer, 400, "M_ROOM_IN_USE")
        self.assert_refused(self.delete(path, bob), 403, "M_FORBIDDEN")
        self.ok(self.delete(path, alice))
        self.assert_refused(self.get(path), 404, "M_NOT_FOUND")

    def test_canonical_alias_must_lead_here(self) -> None:
        alice = self.given_user("alice")
        self.given_room(alice, room_alias_name="elsewhere")
        room = self.given_room(alice, room_alias_name="here")
        path = f"{V3}/rooms/{room}/state/m.room.canonical_alias/"
        self.ok(self.put(path, {"alias": "#here:one.example"}, alice))
        self.assert_refused(self.put(path, {"alias": "#elsewhere:one.example"}, alice), 400, "M_BAD_ALIAS")

    def test_upgrade_moves_alias_and_state(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        room = self.given_room(alice, room_alias_name="lobby", room_version="9", name="Lobby")
        self.given_joined(bob, room)
        path = f"{V3}/rooms/{room}/upgrade"
        self.assert_refused(self.post(path, {"new_version": "12"}, bob), 403, "M_FORBIDDEN")
        replacement = self.ok(self.post(path, {"new_version": "12"}, alice))["replacement_room"]
        found = self.ok(self.get(f"{V3}/directory/room/%23lobby:one.example"))
        self.assertEqual(found["room_id"], replacement)
        self.given_joined(bob, replacement)
        # The old room is closed for those without power.
        sent = self.put(f"{V3}/rooms/{room}/send/m.room.message/1", {"body": "x"}, bob)
        self.assert_refused(sent, 403, "M_FORBIDDEN")

    def test_levels_written_as_strings_are_integers_after_an_upgrade(self) -> None:
        content = {
            "users": {"@a:one.example": " 100 ", "@b:one.example": "x"},
            "invite": "50",
            "events": {"m": "7"},
        }
        self.assertEqual(
            integer_levels(content), {"users": {"@a:one.example": 100}, "invite": 50, "events": {"m": 7}}
        )

    def test_event_that_is_too_large_is_refused(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        path = f"{V3}/rooms/{room}/send/m.room.message"
        self.assert_refused(self.put(f"{path}/1", {"body": "x" * 66_000}, alice), 413, "M_TOO_LARGE")
        self.ok(self.put(f"{path}/2", {"body": "x" * 60_000}, alice))

    def test_float_in_content_is_refused(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        path = f"{V3}/rooms/{room}/send/m.room.message/1"
        self.assert_refused(self.put(path, {"body": 1.5}, alice), 400, "M_BAD_JSON")

    def test_redaction_is_no_state(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        for version in ("1", "10", "11", "12"):
            # Everybody may set state, and nobody but alice may redact.
            levels = {"state_default": 0, "redact": 100}
            room = self.given_room(alice, room_version=version, power_level_content_override=levels)
            self.given_joined(bob, room)
            message = self.given_message(alice, room)
            path = f"{V3}/rooms/{room}/state/m.room.redaction/"
            self.assert_refused(self.put(path, {"redacts": message}, bob), 403, "M_FORBIDDEN")
            event = self.ok(self.get(f"{V3}/rooms/{room}/event/{message}", bob))
            self.assertEqual(event["content"]["body"], "hello")

    def test_room_has_no_more_initial_state_than_can_be_made_at_once(self) -> None:
        alice = self.given_user("alice")
        state = [{"type": "x", "state_key": str(number), "content": {}} for number in range(501)]
        answer = self.post(f"{V3}/createRoom", {"initial_state": state}, alice)
        self.assert_refused(answer, 413, "M_TOO_LARGE")
        self.given_room(alice, initial_state=state[:500])
