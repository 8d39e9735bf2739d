"""Decisions about state, on events made up for them."""

from immutables import Map
from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.event import Event
from federation.room_dag.room_versions import get_room_rules
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.sync.state_choice import (
    cut_contradictions,
    delta_after,
    delta_before,
    full_after,
    full_before,
    read_timeline,
)

NAME = ("m.room.name", "")
TOPIC = ("m.room.topic", "")
RULES = get_room_rules("12")


def stored(
    event_id: str, position: int, pair: tuple[str, str] | None = None, replaces: str | None = None
) -> StoredEvent:
    event_type, state_key = ("m.room.message", None) if pair is None else pair
    event = Event(event_id, "!r", event_type, "@a:x", state_key, {}, 0, 1, (), (), None, RULES, b"{}")
    return StoredEvent(event, position, position << 20, 0, 0, None, replaces, None, None)


def entries(values: "dict[tuple[str, str], str]") -> "Map[tuple[str, str], str]":
    return Map(values.items())


class StateChoiceTests(SynchronousTestCase):
    def test_whole_state_at_the_start_is_without_what_the_timeline_brings(self) -> None:
        final = entries({NAME: "$name2", TOPIC: "$topic"})
        timeline = [stored("$name2", 5, NAME, "$name1"), stored("$topic", 6, TOPIC)]
        shown = read_timeline(timeline)
        self.assertEqual(full_before(final, shown), {NAME: "$name1"})
        self.assertEqual(full_after(final, shown), {NAME: "$name2", TOPIC: "$topic"})

    def test_entry_that_changed_in_the_gap_and_again_is_told_as_it_was_between(self) -> None:
        final = entries({NAME: "$name3"})
        shown = read_timeline([stored("$m", 5), stored("$name3", 6, NAME, "$name2")])
        self.assertEqual(delta_before(final, shown, {NAME: 3}), {NAME: "$name2"})
        self.assertEqual(delta_before(final, shown, {NAME: 6}), {})
        self.assertEqual(delta_after(final, shown, {NAME: 6}), {NAME: "$name3"})

    def test_entry_that_resolution_set_back_is_told(self) -> None:
        final = entries({NAME: "$name1"})
        shown = read_timeline([stored("$m", 5)])
        self.assertEqual(delta_before(final, shown, {NAME: 5}), {NAME: "$name1"})

    def test_timeline_is_cut_behind_a_state_event_that_lost(self) -> None:
        final = entries({NAME: "$name1"})
        timeline = [stored("$m1", 5), stored("$lost", 6, NAME), stored("$m2", 7)]
        kept = cut_contradictions(timeline, final)
        self.assertEqual([one.event.event_id for one in kept], ["$m2"])
        # Together with the delta, the client ends with what is so.
        self.assertEqual(delta_before(final, read_timeline(kept), {NAME: 6}), {NAME: "$name1"})

    def test_event_that_lost_and_was_followed_by_the_winner_does_no_harm(self) -> None:
        final = entries({NAME: "$name2"})
        timeline = [stored("$lost", 5, NAME), stored("$name2", 6, NAME)]
        self.assertEqual(cut_contradictions(timeline, final), timeline)
