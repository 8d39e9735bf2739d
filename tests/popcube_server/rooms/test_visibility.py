"""Room history visibility: who sees which event, by event and by page."""

from tests.popcube_server.rooms.rooms_case import V3, RoomsTestCase
from tests.popcube_server.server_case import TestUser

STAGES = ("before", "invited", "joined", "after")

# What somebody sees who was invited, joined and went again; and somebody who was invited and never came.
GONE = {
    "world_readable": {"before", "invited", "joined", "after"},
    "shared": {"before", "invited", "joined"},
    "invited": {"invited", "joined"},
    "joined": {"joined"},
}
INVITED = {
    "world_readable": {"before", "invited", "joined", "after"},
    "shared": set(),
    "invited": {"invited", "joined", "after"},
    "joined": set(),
}


class VisibilityTests(RoomsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.carol, self.eve = self.given_user("carol"), self.given_user("eve")

    def given_stages(self, visibility: str, way_out: str) -> tuple[str, dict[str, str]]:
        """A room in which bob and carol were invited, bob came and went. An event of each stage."""
        room = self.given_private_room(self.alice, visibility)
        events = {"before": self.given_message(self.alice, room)}
        self.act(self.alice, room, "invite", self.bob)
        self.act(self.alice, room, "invite", self.carol)
        events["invited"] = self.given_message(self.alice, room)
        self.act(self.bob, room, "join")
        events["joined"] = self.given_message(self.alice, room)
        if way_out == "leave":
            self.act(self.bob, room, "leave")
        else:
            self.act(self.alice, room, way_out, self.bob)
        events["after"] = self.given_message(self.alice, room)
        return room, events

    def seen(self, user: TestUser, room: str, events: dict[str, str]) -> set[str]:
        return {stage for stage, event_id in events.items() if self.sees(user, room, event_id)}

    def test_each_visibility_shows_what_the_specification_says(self) -> None:
        for visibility in GONE:
            for way_out in ("leave", "kick", "ban"):
                room, events = self.given_stages(visibility, way_out)
                self.assertEqual(self.seen(self.bob, room, events), GONE[visibility], (visibility, way_out))
                self.assertEqual(self.seen(self.carol, room, events), INVITED[visibility], visibility)
                is_open = visibility == "world_readable"
                self.assertEqual(self.seen(self.eve, room, events), set(STAGES) if is_open else set())
                self.assertEqual(self.seen(self.alice, room, events), set(STAGES))

    def test_pages_show_the_same_as_single_events(self) -> None:
        for visibility in GONE:
            room, events = self.given_stages(visibility, "leave")
            for direction in ("b", "f"):
                paged = {event["event_id"] for event in self.page_all(self.bob, room, direction, 3)}
                by_stage = {stage for stage, event_id in events.items() if event_id in paged}
                self.assertEqual(by_stage, GONE[visibility], (visibility, direction))

    def test_who_comes_back_sees_what_was_said_meanwhile_if_it_is_shared(self) -> None:
        for visibility, expected in (("shared", True), ("invited", False), ("joined", False)):
            room, events = self.given_stages(visibility, "leave")
            self.act(self.alice, room, "invite", self.bob)
            self.act(self.bob, room, "join")
            self.assertIs(self.sees(self.bob, room, events["after"]), expected, visibility)

    def test_room_that_does_not_say_is_shared(self) -> None:
        room = self.given_room(self.alice, preset="public_chat")
        for content in ({}, {"history_visibility": "nonsense"}, {"history_visibility": ["joined"]}):
            self.given_state(self.alice, room, "m.room.history_visibility", content)
            event_id = self.given_message(self.alice, room)
            self.assertFalse(self.sees(self.eve, room, event_id))
        self.given_joined(self.eve, room)
        self.assertTrue(self.sees(self.eve, room, event_id))

    def test_visibility_at_the_event_counts_and_not_the_present_one(self) -> None:
        room = self.given_private_room(self.alice, "shared")
        shared = self.given_message(self.alice, room)
        stricter = self.set_visibility(room, "joined")
        hidden = self.given_message(self.alice, room)
        looser = self.set_visibility(room, "shared")
        # Somebody who comes now sees the changes by what was before or after them.
        self.act(self.alice, room, "invite", self.bob)
        self.act(self.bob, room, "join")
        seen = [self.sees(self.bob, room, event_id) for event_id in (shared, stricter, hidden, looser)]
        self.assertEqual(seen, [True, True, False, True])

    def test_own_leaving_is_seen_and_that_of_others_before_is_not(self) -> None:
        room = self.given_private_room(self.alice, "joined", invite=[self.bob.user_id])
        invite = self.room_get(self.alice, room, f"state/m.room.member/{self.bob.user_id}?format=event")
        self.act(self.bob, room, "join")
        self.act(self.bob, room, "leave")
        leave = self.room_get(self.alice, room, f"state/m.room.member/{self.bob.user_id}?format=event")
        self.assertTrue(self.sees(self.bob, room, leave["event_id"]))
        # By `joined` an invite is nothing that one sees, neither before nor after.
        self.assertFalse(self.sees(self.bob, room, invite["event_id"]))

    def test_change_is_obeyed_at_once_and_after_a_restart(self) -> None:
        room = self.given_private_room(self.alice, "world_readable")
        public = self.given_message(self.alice, room)
        self.assertTrue(self.sees(self.eve, room, public))
        self.set_visibility(room, "joined")
        hidden = self.given_message(self.alice, room)
        for _ in range(2):
            self.assertTrue(self.sees(self.eve, room, public))
            self.assertFalse(self.sees(self.eve, room, hidden))
            self.restart()

    def test_previous_content_is_hidden_from_who_may_not_see_it(self) -> None:
        room = self.given_private_room(self.alice, "joined")
        self.given_state(self.alice, room, "m.room.topic", {"topic": "secret"})
        self.act(self.alice, room, "invite", self.bob)
        self.act(self.bob, room, "join")
        old = self.given_state(self.alice, room, "m.room.topic", {"topic": "open"})
        new = self.given_state(self.alice, room, "m.room.topic", {"topic": "newer"})
        unsigned = self.room_get(self.bob, room, f"event/{old}")["unsigned"]
        self.assertIn("replaces_state", unsigned)
        self.assertNotIn("prev_content", unsigned)
        unsigned = self.room_get(self.bob, room, f"event/{new}")["unsigned"]
        self.assertEqual(unsigned["prev_content"], {"topic": "open"})

    def set_visibility(self, room: str, visibility: str) -> str:
        content = {"history_visibility": visibility}
        return self.given_state(self.alice, room, "m.room.history_visibility", content)

    def test_stranger_pages_through_the_open_part_only(self) -> None:
        room = self.given_private_room(self.alice, "shared")
        self.given_message(self.alice, room)
        self.set_visibility(room, "world_readable")
        seen = [self.given_message(self.alice, room) for _ in range(3)]
        paged = [event["event_id"] for event in self.page_all(self.eve, room, "b", 2)]
        self.assertEqual(paged[:3], seen[::-1])
        self.assertEqual(len(paged), 4)
        self.set_visibility(room, "shared")
        self.assert_refused(self.get(f"{V3}/rooms/{room}/messages?dir=b", self.eve), 403, "M_FORBIDDEN")
