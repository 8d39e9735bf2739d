"""First and later syncs: what is in them, and when they come."""

from tests.popcube_server.sync.sync_case import SyncCase, bodies, state, timeline


class SyncTests(SyncCase):
    def test_first_sync_has_the_room_with_its_state_and_messages(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice, name="Garden")
        event_id = self.given_message(alice, room, "hello")
        answer = self.sync(alice)
        self.assertEqual(timeline(answer, room)[-1], event_id)
        shown = {**state(answer, room)}
        for event in answer["rooms"]["join"][room]["timeline"]["events"]:
            if "state_key" in event:
                shown[event["type"], event["state_key"]] = event["content"]
        self.assertEqual(shown["m.room.name", ""], {"name": "Garden"})
        self.assertIn(("m.room.create", ""), shown)

    def test_next_sync_has_just_what_is_new(self) -> None:
        alice = self.given_user("alice")
        room = self.given_room(alice)
        since = self.sync(alice)["next_batch"]
        event_id = self.given_message(alice, room, "new")
        answer = self.sync(alice, since)
        self.assertEqual(timeline(answer, room), [event_id])
        self.assertFalse(answer["rooms"]["join"][room]["timeline"]["limited"])
        self.assertEqual(state(answer, room), {})
        again = self.sync(alice, answer["next_batch"])
        self.assertNotIn("rooms", again)

    def test_long_poll_is_woken_by_a_message(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        room = self.given_room(alice)
        self.given_joined(bob, room)
        since = self.sync(bob)["next_batch"]
        waiting = self.begin_sync(bob, since)
        self.assert_waiting(waiting)
        self.given_message(alice, room, "wake up")
        answer = self.finish_sync(waiting)
        self.assertEqual(bodies(answer, room), ["wake up"])

    def test_long_poll_ends_when_its_time_is_over(self) -> None:
        alice = self.given_user("alice")
        since = self.sync(alice)["next_batch"]
        waiting = self.begin_sync(alice, since, timeout=5000)
        self.clock.advance(4.9)
        self.assert_waiting(waiting)
        self.clock.advance(0.2)
        answer = self.finish_sync(waiting)
        self.assertNotIn("rooms", answer)
        self.assertIn("next_batch", answer)

    def test_message_elsewhere_does_not_end_a_long_poll(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        room = self.given_room(alice)
        since = self.sync(bob)["next_batch"]
        waiting = self.begin_sync(bob, since)
        self.given_message(alice, room, "not for bob")
        self.clock.advance(0)
        self.assert_waiting(waiting)
        self.clock.advance(31)
        self.assertNotIn("rooms", self.finish_sync(waiting))

    def test_client_that_goes_away_leaves_nothing_behind(self) -> None:
        alice = self.given_user("alice")
        since = self.sync(alice)["next_batch"]
        before = len(self.clock.getDelayedCalls())
        waiting = self.begin_sync(alice, since)
        self.assert_waiting(waiting)
        self.assertEqual(len(self.clock.getDelayedCalls()), before + 1)
        waiting.addErrback(lambda _: None)
        waiting.cancel()
        self._agent.flush()
        self.assertEqual(len(self.clock.getDelayedCalls()), before)
