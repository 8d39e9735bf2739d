"""Sites that do not see each other, while a Synapse sees both: all agree afterwards."""

import json
from collections import Counter
from collections.abc import Sequence

from tests.integration.federation.pairs import join_at_last
from tests.integration.federation.peers import Peer, User, eventually
from tests.integration.federation.test_restarts import said
from tests.integration.sites.outside import at
from tests.integration.sites.outside_case import OutsideCase
from tests.integration.sites.sites import SITES
from tests.integration.sites.watch import sent_again


class CutsTests(OutsideCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bea = self.given_user(self.anna, "alice"), self.given_user(self.berta, "bea")
        self.sam = self.given_user(self.synapse, "sam")
        self.room_id = self.given_room_of_all(self.alice, self.bea, self.sam)
        self.addCleanup(self.front.prefer, "anna")
        self.addCleanup(self.sites.heal)

    def test_a_client_that_moves_misses_nothing_that_synapse_says_while_the_link_is_cut(self) -> None:
        roaming = Roaming(self.alice, self.room_id)
        texts = []
        for number in range(3):
            self.sites.cut_link()
            try:
                for site in (self.anna, self.berta):
                    self.front.prefer(site.name)
                    said_now = [f"{site.name} {number} {part}" for part in range(3)]
                    for text in said_now:
                        self.sam.send_text(self.room_id, text)
                    texts += said_now
                    there = at(site, self.alice)
                    self.wait_for_texts(there, self.room_id, said_now)
                    roaming.hear(site)
                    texts.append(f"of alice at {site.name} {number}")
                    there.send_text(self.room_id, texts[-1])
                    roaming.hear(self.other(site))
            finally:
                self.sites.heal()
            roaming.hear(self.anna)
            roaming.hear(self.berta)
        everywhere = (self.alice, at(self.berta, self.alice), self.sam)
        self.check_texts(everywhere, self.room_id, texts)
        self.settle(self.room_id, *everywhere)
        for site in (self.anna, self.berta):
            eventually(lambda: set(roaming.hear(site)) >= set(texts), "the moving client has all")  # noqa: B023
        again = sum(times - 1 for times in Counter(roaming.seen).values())
        print(f"told again to a client that moved: {again} of {len(roaming.seen)}")
        self.assertEqual(roaming.doubled, [], "twice in one answer")
        self.assertEqual(sent_again(self.transactions()), [])

    def test_state_that_three_changed_during_a_cut_is_the_same_for_all(self) -> None:
        levels = self.alice.state_content(self.room_id, "m.room.power_levels")
        levels["users"] |= {self.bea.user_id: 50, self.sam.user_id: 50}
        self.alice.send_state(self.room_id, "m.room.power_levels", levels)
        everywhere = (self.alice, at(self.berta, self.alice), self.bea, self.sam)
        self.settle(self.room_id, *everywhere)
        for preferred in (self.anna, self.berta):
            self.front.prefer(preferred.name)
            self.sites.cut_link()
            try:
                for number, user in enumerate((self.alice, self.bea, self.sam)):
                    user.send_state(
                        self.room_id, "m.room.topic", {"topic": f"{user.user_id} {preferred.name}"}
                    )
                    user.send_state(self.room_id, "m.room.name", {"name": f"{number}"}, "")
                    user.send_text(self.room_id, f"{number} {preferred.name}")
                users = {**levels["users"], self.sam.user_id: 0}
                self.alice.send_state(self.room_id, "m.room.power_levels", {**levels, "users": users})
                self.sam.send_state(self.room_id, "m.room.topic", {"topic": "who takes my power?"})
            finally:
                self.sites.heal()
            self.bea.send_text(self.room_id, f"healed {preferred.name}")
            self.alice.send_state(self.room_id, "m.room.power_levels", levels)
            # A site that heard of Sam's last topic only after he had lost his power soft-fails it: until an event
            # follows it, that is no part of the room there, while it is one for Synapse.
            self.sam.send_text(self.room_id, f"and on {preferred.name}")
            self.settle(self.room_id, *everywhere)
        texts = [f"{number} {site}" for site in SITES for number in range(3)]
        texts += [f"{beginning} {site}" for site in SITES for beginning in ("healed", "and on")]
        self.check_texts(everywhere, self.room_id, texts)

    def test_a_room_that_both_sites_join_during_a_cut_becomes_one_room(self) -> None:
        tom = self.given_user(self.synapse, "tom")
        room_id = tom.create_room(preset="public_chat")
        tom.send_text(room_id, "before")
        self.sites.cut_link()
        try:
            for site, user in ((self.anna, self.alice), (self.berta, self.bea)):
                self.front.prefer(site.name)
                join_at_last(user, room_id, self.synapse.server_name)
                tom.send_text(room_id, f"hello {site.name}")
                self.wait_for_texts(user, room_id, [f"hello {site.name}"])
                user.send_text(room_id, f"hello from {site.name}")
        finally:
            self.sites.heal()
        everywhere = (tom, self.alice, at(self.berta, self.alice), at(self.anna, self.bea), self.bea)
        texts = ["before", "hello anna", "hello berta", "hello from anna", "hello from berta"]
        self.check_texts(everywhere, room_id, texts)
        self.settle(room_id, *everywhere)
        at(self.berta, self.alice).send_text(room_id, "one room")
        self.check_texts(everywhere, room_id, [*texts, "one room"])

    def test_an_invite_of_a_cut_is_accepted_where_it_came_and_known_everywhere(self) -> None:
        room_id = self.sam.create_room(preset="private_chat")
        there = at(self.berta, self.alice)
        self.sites.cut_link()
        try:
            self.front.prefer("berta")
            self.sam.change_membership(room_id, "invite", self.alice).ok()
            eventually(lambda: room_id in there.rooms("invite"), "alice is invited at berta")
            there.join(room_id)
            there.send_text(room_id, "I am here")
            self.sam.send_text(room_id, "and I")
        finally:
            self.sites.heal()
        everywhere = (self.sam, self.alice, there)
        self.check_texts(everywhere, room_id, ["I am here", "and I"])
        self.settle(room_id, *everywhere)

    def wait_for_texts(self, user: User, room_id: str, texts: list[str]) -> None:
        """Among others."""
        eventually(lambda: set(said(user, room_id)) >= set(texts), f"{texts} are read on {user.peer.name}")


class Roaming:
    """A client that asks one site, and then another one, what is new since it asked last."""

    def __init__(self, user: User, room_id: str) -> None:
        self._user = user
        self._room_id = room_id
        self._query = {"timeout": "0", "filter": json.dumps({"room": {"timeline": {"limit": 500}}})}
        self.seen: list[str] = []
        """IDs of the events of the timeline, as often as they came."""
        self.doubled: list[str] = []
        """Those that came twice in one answer."""
        self._texts: list[str] = []
        self.hear(user.peer)

    def hear(self, site: Peer) -> Sequence[str]:
        """Ask a site; every text that was heard so far."""
        answer = at(site, self._user).get("/sync", self._query)
        self._query["since"] = answer["next_batch"]
        room = answer.get("rooms", {}).get("join", {}).get(self._room_id, {})
        events = room.get("timeline", {}).get("events", [])
        ids = [event["event_id"] for event in events]
        self.seen += ids
        self.doubled += [event_id for event_id, times in Counter(ids).items() if times > 1]
        self._texts += [event["content"].get("body") for event in events]
        return self._texts
