"""A Synapse that shares rooms with two sites: it sees one server, gets each event once, and reaches both sites."""

from tests.integration.federation.listening import Listener
from tests.integration.federation.peers import eventually, quote
from tests.integration.sites.outside import at
from tests.integration.sites.outside_case import OutsideCase, Talking
from tests.integration.sites.watch import sent_again

COUNT = 12


class RoomsTests(OutsideCase):
    def test_a_room_of_both_sites_is_a_room_of_one_server(self) -> None:
        alice, bea = self.given_user(self.anna, "alice"), self.given_user(self.berta, "bea")
        sam = self.given_user(self.synapse, "sam")
        room_id = self.given_room_of_all(alice, bea, sam)
        users = (alice, bea, sam)
        listeners = [Listener(user) for user in users]
        with (
            Talking(alice, room_id, "anna", COUNT) as here,
            Talking(bea, room_id, "berta", COUNT) as there,
            Talking(sam, room_id, "synapse", COUNT) as far,
        ):
            pass
        texts = [*here.texts, *there.texts, *far.texts]
        self.assertEqual(len(texts), 3 * COUNT)
        self.check_texts(users, room_id, texts)
        self.settle(room_id, *users)
        for listener in listeners:
            eventually(lambda: len(listener.hear().seen(room_id)) >= len(texts), "all was told")  # noqa: B023
            self.assertEqual(len(set(listener.seen(room_id))), len(listener.seen(room_id)), "told twice")
        self.assertEqual(len({each.site for each in self.transactions()}), 1, "two sites sent")
        self.assertEqual(sent_again(self.transactions()), [])

    def test_a_room_of_another_server_is_complete_at_both_sites(self) -> None:
        sam, tom = self.given_user(self.synapse, "sam"), self.given_user(self.synapse, "tom")
        alice, bea = self.given_user(self.anna, "alice"), self.given_user(self.anna, "bea")
        carol = self.given_user(self.berta, "carol")
        room_id = sam.create_room(preset="private_chat")
        self.front.prefer("berta")
        self.addCleanup(self.front.prefer, "anna")
        # The invite comes to one site, and is accepted at the other.
        sam.change_membership(room_id, "invite", alice).ok()
        eventually(lambda: room_id in alice.rooms("invite"), "alice is invited at anna")
        alice.join(room_id)
        there = at(self.berta, alice)
        self.settle(room_id, sam, alice, there)
        # Of ours and of theirs, through the site where she did not join.
        for user in (bea, carol, tom):
            there.change_membership(room_id, "invite", user).ok()
            eventually(lambda: room_id in user.rooms("invite"), f"{user.user_id} is invited")  # noqa: B023
        bea.join(room_id)
        tom.join(room_id)
        at(self.anna, carol).leave(room_id)
        eventually(lambda: sam.membership(room_id, carol) == "leave", "carol does not want")
        self.settle(room_id, sam, tom, alice, there, bea, at(self.berta, bea))
        texts = ["of sam", "of alice", "of alice there", "of bea there"]
        for user, text in zip((sam, alice, there, at(self.berta, bea)), texts, strict=True):
            user.send_text(room_id, text)
        self.check_texts((sam, tom, alice, there, bea), room_id, texts)

    def test_who_knocks_at_one_site_comes_in_at_the_other(self) -> None:
        sam, alice = self.given_user(self.synapse, "sam"), self.given_user(self.anna, "alice")
        rule = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
        room_id = sam.create_room(preset="private_chat", initial_state=[rule])
        alice.post(f"/knock/{quote(room_id)}", {}, {"via": self.synapse.server_name})
        eventually(lambda: sam.membership(room_id, alice) == "knock", "the knock is heard")
        there = at(self.berta, alice)
        eventually(lambda: room_id in there.rooms("knock"), "the other site knows of the knock")
        sam.change_membership(room_id, "invite", alice).ok()
        eventually(lambda: room_id in there.rooms("invite"), "the other site knows of the invite")
        there.join(room_id)
        self.settle(room_id, sam, alice, there)

    def test_a_restricted_room_lets_in_who_joined_the_other_one_at_another_site(self) -> None:
        sam, alice = self.given_user(self.synapse, "sam"), self.given_user(self.anna, "alice")
        space = sam.create_room(preset="public_chat")
        allow = [{"type": "m.room_membership", "room_id": space}]
        content = {"join_rule": "restricted", "allow": allow}
        rule = {"type": "m.room.join_rules", "state_key": "", "content": content}
        room_id = sam.create_room(preset="private_chat", initial_state=[rule])
        alice.join(space, self.synapse.server_name)
        there = at(self.berta, alice)
        self.settle(space, sam, alice, there)
        there.join(room_id, self.synapse.server_name)
        self.settle(room_id, sam, alice, there)
        there.leave(room_id)
        eventually(lambda: sam.membership(room_id, alice) == "leave", "sam sees her go")
        eventually(lambda: room_id in alice.rooms("leave"), "the other site sees her go")
