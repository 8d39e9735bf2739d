"""Invites, knocks, restricted joins, kicks, bans, leaving: each from either side."""

from tests.integration.federation.pairs import (
    OursOnPostgresWithSynapse,
    OursOnSqliteWithSynapse,
    Scenarios,
    TwoOfOurs,
)
from tests.integration.federation.peers import Peer, User, eventually, quote


class MembershipScenarios(Scenarios):
    def test_a_room_is_joined_by_its_alias(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            name = alice.user_id[1:].partition(":")[0]
            room_id = alice.create_room(preset="public_chat", room_alias_name=name)
            self.assertEqual(bob.join(f"#{name}:{near.server_name}"), room_id)
            self.settle(room_id, alice, bob)

    def test_an_invite_is_accepted(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_invited(alice, bob)
            bob.join(room_id)
            state = self.settle(room_id, alice, bob)
            self.assertIn(("m.room.member", bob.user_id), state)
            alice.send_text(room_id, "welcome")
            self.wait_for_text(bob, room_id, "welcome")

    def test_an_invite_at_creation_is_accepted(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = alice.create_room(
                preset="trusted_private_chat", invite=[bob.user_id], is_direct=True, name="The two of us"
            )
            stripped = self.wait_for_room(bob, "invite", room_id)["invite_state"]["events"]
            contents = {event["type"]: event["content"] for event in stripped}
            self.assertEqual(contents["m.room.name"], {"name": "The two of us"})
            own = [event for event in stripped if event.get("state_key") == bob.user_id]
            self.assertTrue(own[0]["content"]["is_direct"])
            bob.join(room_id)
            self.settle(room_id, alice, bob)

    def test_an_invite_is_rejected(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_invited(alice, bob)
            bob.leave(room_id)
            self.wait_for_membership(alice, room_id, bob, "leave")
            self.assertNotIn(room_id, bob.rooms("invite"))

    def test_an_invite_is_rejected_while_the_inviter_is_away(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_invited(alice, bob)
            with self.partition():
                bob.leave(room_id)
                self.assertNotIn(room_id, bob.rooms("invite"))

    def test_an_invite_is_retracted(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_invited(alice, bob)
            alice.change_membership(room_id, "kick", bob, reason="a mistake").ok()
            self.wait_until_gone(bob, "invite", room_id)
            self.assert_cannot_join(bob, room_id, near)

    def test_a_guest_invites_somebody_of_the_creators_server(self) -> None:
        for near, far in self.both_ways():
            alice, bob, carol = near.register("alice"), far.register("bob"), near.register("carol")
            room_id = self.given_shared_room(alice, bob, power_level_content_override={"invite": 0})
            bob.change_membership(room_id, "invite", carol).ok()
            self.wait_for_room(carol, "invite", room_id)
            carol.join(room_id)
            self.settle(room_id, alice, bob, carol)

    def test_a_knock_is_accepted(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_knocked(alice, bob)
            alice.change_membership(room_id, "invite", bob).ok()
            self.wait_for_room(bob, "invite", room_id)
            bob.join(room_id)
            self.settle(room_id, alice, bob)

    def test_members_of_a_space_join_and_others_do_not(self) -> None:
        for near, far in self.both_ways():
            alice, bob, stranger = near.register("alice"), far.register("bob"), far.register("stranger")
            _, room_id = self.given_restricted(alice, bob)
            self.assert_cannot_join(stranger, room_id, near)
            bob.join(room_id, near.server_name)
            self.settle(room_id, alice, bob)
            content = alice.state_content(room_id, "m.room.member", bob.user_id)
            self.assertEqual(content["join_authorised_via_users_server"], alice.user_id)

    def test_a_server_in_the_room_that_may_not_authorise_asks_the_other(self) -> None:
        for near, far in self.both_ways():
            alice, bob, carol = near.register("alice"), far.register("bob"), far.register("carol")
            space_id, room_id = self.given_restricted(alice, bob)
            levels = alice.state_content(room_id, "m.room.power_levels")
            alice.send_state(room_id, "m.room.power_levels", {**levels, "invite": 50})
            bob.join(room_id, near.server_name)
            carol.join(space_id, near.server_name)
            # The other server must know it before it is asked.
            self.settle(space_id, alice, carol)
            carol.join(room_id, near.server_name)
            self.settle(room_id, alice, bob, carol)
            content = bob.state_content(room_id, "m.room.member", carol.user_id)
            self.assertEqual(content["join_authorised_via_users_server"], alice.user_id)

    def test_a_kick_then_a_ban_then_forgiveness(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_shared_room(alice, bob)
            alice.change_membership(room_id, "kick", bob, reason="be quiet").ok()
            self.wait_for_room(bob, "leave", room_id)
            bob.join(room_id, near.server_name)
            self.settle(room_id, alice, bob)
            alice.change_membership(room_id, "ban", bob).ok()
            self.wait_for_room(bob, "leave", room_id)
            self.assert_cannot_join(bob, room_id, near)
            alice.change_membership(room_id, "unban", bob).ok()
            self.wait_until_joined(bob, room_id, near)
            self.settle(room_id, alice, bob)

    def test_a_moderator_bans_a_user_of_the_other_server(self) -> None:
        for near, far in self.both_ways():
            alice, bob, mallory = near.register("alice"), far.register("bob"), near.register("mallory")
            room_id = self.given_shared_room(alice, bob, mallory)
            levels = alice.state_content(room_id, "m.room.power_levels")
            levels["users"][bob.user_id] = 50
            alice.send_state(room_id, "m.room.power_levels", levels)
            self.settle(room_id, alice, bob)
            bob.change_membership(room_id, "ban", mallory).ok()
            self.wait_for_membership(alice, room_id, mallory, "ban")
            self.assertEqual(mallory.call("PUT", text_path(room_id), {"body": "x"}).status, 403)

    def test_who_left_comes_back_to_what_happened_meanwhile(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_shared_room(alice, bob)
            bob.leave(room_id)
            self.wait_for_membership(alice, room_id, bob, "leave")
            alice.send_state(room_id, "m.room.topic", {"topic": "without bob"})
            alice.send_text(room_id, "is he gone?")
            bob.join(room_id, near.server_name)
            self.settle(room_id, alice, bob)
            self.assertEqual(bob.state_content(room_id, "m.room.topic"), {"topic": "without bob"})
            alice.send_text(room_id, "there you are")
            self.wait_for_text(bob, room_id, "there you are")
            bob.send_text(room_id, "here I am")
            self.wait_for_text(alice, room_id, "here I am")

    def test_a_room_that_its_creator_left_goes_on(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_shared_room(alice, bob)
            alice.leave(room_id)
            self.wait_for_membership(bob, room_id, alice, "leave")
            bob.send_text(room_id, "alone")
            alice.join(room_id, far.server_name)
            self.settle(room_id, alice, bob)
            bob.send_text(room_id, "not alone")
            self.wait_for_text(alice, room_id, "not alone")

    # What is given, and what is waited for.

    def given_invited(self, alice: User, bob: User) -> str:
        room_id = alice.create_room(preset="private_chat", name="Private")
        alice.change_membership(room_id, "invite", bob, reason="come in").ok()
        self.wait_for_room(bob, "invite", room_id)
        return room_id

    def given_knocked(self, alice: User, bob: User) -> str:
        rules = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
        room_id = alice.create_room(preset="private_chat", initial_state=[rules])
        near = alice.peer.server_name
        bob.post(f"/knock/{quote(room_id)}", {"reason": "please"}, {"server_name": near, "via": near})
        self.wait_for_membership(alice, room_id, bob, "knock")
        self.wait_for_room(bob, "knock", room_id)
        return room_id

    def given_restricted(self, alice: User, bob: User) -> tuple[str, str]:
        """A space, which bob is in, and a room for its members; both on the server of alice."""
        space_id = self.given_shared_room(alice, bob, creation_content={"type": "m.space"})
        allow = {"type": "m.room_membership", "room_id": space_id}
        rules = {"join_rule": "restricted", "allow": [allow]}
        room_id = alice.create_room(
            preset="private_chat",
            initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": rules}],
        )
        return space_id, room_id

    def wait_for_room(self, user: User, section: str, room_id: str) -> dict:
        return eventually(
            lambda: user.rooms(section).get(room_id), f"{room_id} among those of {user.user_id}: {section}"
        )

    def wait_until_gone(self, user: User, section: str, room_id: str) -> None:
        eventually(lambda: room_id not in user.rooms(section), f"{room_id} not for {user.user_id}: {section}")

    def wait_for_membership(self, seen_by: User, room_id: str, user: User, membership: str) -> None:
        eventually(
            lambda: seen_by.membership(room_id, user) == membership,
            f"{seen_by.user_id} sees {user.user_id}: {membership}",
        )

    def wait_until_joined(self, user: User, room_id: str, via: Peer) -> None:
        eventually(lambda: user.join(room_id, via.server_name), f"{user.user_id} joins")

    def wait_for_text(self, user: User, room_id: str, text: str) -> None:
        eventually(lambda: text in user.texts(room_id), f"{text!r} at {user.user_id}")

    def assert_cannot_join(self, user: User, room_id: str, via: Peer) -> None:
        answer = user.call("POST", f"/join/{quote(room_id)}", {}, {"server_name": via.server_name})
        self.assertEqual((answer.status, answer.json["errcode"]), (403, "M_FORBIDDEN"), answer)


def text_path(room_id: str) -> str:
    return f"/rooms/{quote(room_id)}/send/m.room.message/1"


class EndedOutsideScenarios(MembershipScenarios):
    """What Synapse does not tell the other server, or does not hear: it is about users outside of the room."""

    def test_a_knock_is_rejected(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_knocked(alice, bob)
            alice.change_membership(room_id, "kick", bob).ok()
            self.wait_until_gone(bob, "knock", room_id)

    def test_an_invited_user_is_banned(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_invited(alice, bob)
            alice.change_membership(room_id, "ban", bob).ok()
            self.wait_until_gone(bob, "invite", room_id)

    def test_a_knock_is_retracted(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_knocked(alice, bob)
            bob.leave(room_id)
            self.wait_for_membership(alice, room_id, bob, "leave")


class MembershipsOnSqliteWithSynapseTests(OursOnSqliteWithSynapse, MembershipScenarios):
    pass


class MembershipsOnPostgresWithSynapseTests(OursOnPostgresWithSynapse, MembershipScenarios):
    pass


class MembershipsBetweenOursTests(TwoOfOurs, EndedOutsideScenarios):
    pass
