"""Events that refer to others: bundled aggregations, /relations, /threads."""

from typing import Any
from urllib.parse import quote

from tests.popcube_server.rooms.rooms_case import V1, RoomsTestCase
from tests.popcube_server.server_case import TWO, TestUser


class RelationsCase(RoomsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.room = self.given_room(self.alice)
        self.given_joined(self.bob, self.room)
        self.parent = self.given_message(self.alice, self.room, "parent")

    def relate(
        self, user: TestUser, rel_type: str, parent: str, event_type: str = "m.room.message", **content: Any
    ) -> str:
        relation = {"rel_type": rel_type, "event_id": parent}
        if rel_type == "m.annotation":
            relation["key"] = content.pop("key", "+")
        body = {"msgtype": "m.text", "body": "child", **content, "m.relates_to": relation}
        return self.given_event(user, self.room, body, event_type)

    def edit(self, user: TestUser, parent: str, text: str, event_type: str = "m.room.message") -> str:
        new = {"msgtype": "m.text", "body": text}
        self.clock.advance(1)
        return self.relate(user, "m.replace", parent, event_type, **{"m.new_content": new})

    def bundle(self, event_id: str, user: TestUser | None = None) -> Any:
        event = self.room_get(user or self.alice, self.room, f"event/{quote(event_id)}")
        return event["unsigned"].get("m.relations", {})


class BundledTests(RelationsCase):
    def test_event_without_children_has_no_bundle(self) -> None:
        event = self.room_get(self.alice, self.room, f"event/{quote(self.parent)}")
        self.assertNotIn("m.relations", event["unsigned"])

    def test_newest_edit_of_the_own_sender_is_bundled(self) -> None:
        self.edit(self.alice, self.parent, "first")
        second = self.edit(self.alice, self.parent, "second")
        self.edit(self.bob, self.parent, "not mine")
        self.edit(self.alice, self.parent, "another type", "m.sticker")
        self.relate(self.alice, "m.replace", self.parent)  # Has no m.new_content.
        replacement = self.bundle(self.parent)["m.replace"]
        self.assertEqual((replacement["event_id"], replacement["room_id"]), (second, self.room))
        self.assertEqual(replacement["content"]["m.new_content"]["body"], "second")
        content = self.room_get(self.alice, self.room, f"event/{quote(self.parent)}")["content"]
        self.assertEqual(content["body"], "parent")

    def test_of_edits_of_the_same_time_the_one_with_the_greatest_id_counts(self) -> None:
        new: dict[str, Any] = {"m.new_content": {"body": "x"}}
        edits = [self.relate(self.alice, "m.replace", self.parent, **new) for _ in range(5)]
        self.assertEqual(self.bundle(self.parent)["m.replace"]["event_id"], max(edits))
        later = self.edit(self.alice, self.parent, "later")
        self.assertEqual(self.bundle(self.parent)["m.replace"]["event_id"], later)

    def test_edit_of_an_edit_counts_for_nothing(self) -> None:
        edit = self.edit(self.alice, self.parent, "first")
        self.edit(self.alice, edit, "second")
        self.assertEqual(self.bundle(edit), {})
        self.assertEqual(self.bundle(self.parent)["m.replace"]["event_id"], edit)

    def test_redacted_edit_gives_way_to_the_one_before(self) -> None:
        first = self.edit(self.alice, self.parent, "first")
        second = self.edit(self.alice, self.parent, "second")
        self.assertEqual(self.bundle(self.parent)["m.replace"]["event_id"], second)
        self.given_redacted(self.alice, self.room, second)
        self.assertEqual(self.bundle(self.parent)["m.replace"]["event_id"], first)
        self.given_redacted(self.alice, self.room, self.parent)
        self.assertEqual(self.bundle(self.parent), {})

    def test_state_events_have_no_bundles(self) -> None:
        topic = self.given_state(self.alice, self.room, "m.room.topic", {"topic": "t"})
        self.relate(self.alice, "m.reference", topic)
        self.assertEqual(self.bundle(topic), {})

    def test_references_are_listed(self) -> None:
        first = self.relate(self.alice, "m.reference", self.parent)
        second = self.relate(self.bob, "m.reference", self.parent)
        chunk = [{"event_id": first}, {"event_id": second}]
        self.assertEqual(self.bundle(self.parent), {"m.reference": {"chunk": chunk}})
        self.given_redacted(self.alice, self.room, first)
        self.assertEqual(self.bundle(self.parent), {"m.reference": {"chunk": chunk[1:]}})

    def test_thread_is_summed_up_with_its_newest_event_as_edited(self) -> None:
        self.relate(self.bob, "m.thread", self.parent)
        newest = self.relate(self.bob, "m.thread", self.parent)
        edit = self.edit(self.bob, newest, "edited")
        thread = self.bundle(self.parent)["m.thread"]
        self.assertEqual((thread["count"], thread["current_user_participated"]), (2, True))
        self.assertEqual(thread["latest_event"]["event_id"], newest)
        self.assertEqual(thread["latest_event"]["unsigned"]["m.relations"]["m.replace"]["event_id"], edit)
        carol = self.given_user("carol")
        self.given_joined(carol, self.room)
        self.assertIs(self.bundle(self.parent, carol)["m.thread"]["current_user_participated"], False)
        self.relate(carol, "m.thread", self.parent)
        self.assertIs(self.bundle(self.parent, carol)["m.thread"]["current_user_participated"], True)
        self.given_redacted(self.bob, self.room, newest)
        self.assertEqual(self.bundle(self.parent)["m.thread"]["count"], 2)

    def test_ignored_users_count_for_nothing(self) -> None:
        mine = self.relate(self.alice, "m.thread", self.parent)
        self.relate(self.bob, "m.thread", self.parent)
        self.relate(self.bob, "m.reference", self.parent)
        self.assertEqual(self.bundle(self.parent)["m.thread"]["count"], 2)
        self.given_ignored(self.alice, self.bob)
        bundle = self.bundle(self.parent)
        self.assertEqual(bundle["m.thread"]["count"], 1)
        self.assertEqual(bundle["m.thread"]["latest_event"]["event_id"], mine)
        self.assertNotIn("m.reference", bundle)

    def test_who_left_is_not_told_what_came_later(self) -> None:
        self.act(self.bob, self.room, "leave")
        self.edit(self.alice, self.parent, "later")
        self.relate(self.alice, "m.thread", self.parent)
        self.assertEqual(self.bundle(self.parent, self.bob), {})
        self.assertEqual(set(self.bundle(self.parent)), {"m.replace", "m.thread"})

    def test_children_in_other_rooms_count_for_nothing(self) -> None:
        other = self.given_room(self.alice)
        new = {"m.new_content": {"body": "x"}, "body": "x"}
        relation = {"m.relates_to": {"rel_type": "m.replace", "event_id": self.parent}}
        self.given_event(self.alice, other, {**new, **relation})
        self.assertEqual(self.bundle(self.parent), {})

    def test_child_that_comes_before_its_parent_is_known_is_found_from_memory_too(self) -> None:
        self.assertEqual(self.bundle(self.parent), {})
        edit = self.edit(self.alice, self.parent, "first")
        self.assertEqual(self.bundle(self.parent)["m.replace"]["event_id"], edit)
        self.restart()
        self.assertEqual(self.bundle(self.parent)["m.replace"]["event_id"], edit)

    def test_pages_and_contexts_carry_bundles(self) -> None:
        edit = self.edit(self.alice, self.parent, "first")
        page = self.room_get(self.alice, self.room, "messages?dir=b&limit=2")
        self.assertEqual(page["chunk"][1]["unsigned"]["m.relations"]["m.replace"]["event_id"], edit)
        context = self.room_get(self.alice, self.room, f"context/{quote(self.parent)}")
        self.assertEqual(context["event"]["unsigned"]["m.relations"]["m.replace"]["event_id"], edit)


class ReadRelationsTests(RelationsCase):
    def relations(self, rest: str = "", parent: str | None = None, user: TestUser | None = None) -> Any:
        path = f"{V1}/rooms/{self.room}/relations/{quote(parent or self.parent)}{rest}"
        return self.ok(self.get(path, user or self.alice))

    def ids(self, rest: str = "", parent: str | None = None) -> list[str]:
        return [event["event_id"] for event in self.relations(rest, parent)["chunk"]]

    def test_children_are_chosen_by_relation_and_type(self) -> None:
        reaction = self.relate(self.bob, "m.annotation", self.parent, "m.reaction")
        edit = self.edit(self.alice, self.parent, "x")
        sticker = self.relate(self.bob, "m.reference", self.parent, "m.sticker")
        reference = self.relate(self.bob, "m.reference", self.parent)
        self.assertEqual(self.ids(), [reference, sticker, edit, reaction])
        self.assertEqual(self.ids("?dir=f"), [reaction, edit, sticker, reference])
        self.assertEqual(self.ids("/m.reference"), [reference, sticker])
        self.assertEqual(self.ids("/m.reference/m.sticker"), [sticker])
        self.assertEqual(self.ids("/m.thread"), [])
        self.assertEqual(self.ids("/unheard.of/un.heard"), [])
        self.given_redacted(self.bob, self.room, sticker)
        self.assertEqual(self.ids("/m.reference"), [reference])

    def test_pages_cover_every_child_once(self) -> None:
        children = [self.relate(self.bob, "m.reference", self.parent) for _ in range(7)]
        for direction, expected in (("b", children[::-1]), ("f", children)):
            found: list[str] = []
            token = ""
            for _ in range(10):
                page = self.relations(f"?dir={direction}&limit=3{token}")
                self.assertEqual("prev_batch" in page, bool(token))
                found.extend(event["event_id"] for event in page["chunk"])
                if "next_batch" not in page:
                    break
                token = f"&from={page['next_batch']}"
            self.assertEqual(found, expected)

    def test_recursion_finds_children_of_children(self) -> None:
        reply = self.relate(self.bob, "m.thread", self.parent)
        reaction = self.relate(self.alice, "m.annotation", reply, "m.reaction")
        third = self.relate(self.alice, "m.reference", reaction)
        fourth = self.relate(self.alice, "m.reference", third)
        self.assertEqual(self.ids(), [reply])
        self.assertEqual(self.ids("?recurse=true"), [third, reaction, reply])
        self.assertNotIn(fourth, self.ids("?recurse=true"))
        self.assertEqual(self.ids("/m.annotation?recurse=true"), [reaction])
        self.assertEqual(self.relations("?recurse=true")["recursion_depth"], 3)
        self.assertNotIn("recursion_depth", self.relations())

    def test_strangers_and_wrong_requests_are_refused(self) -> None:
        eve, other = self.given_user("eve"), self.given_user("alice", TWO)
        path = f"{V1}/rooms/{self.room}/relations/{quote(self.parent)}"
        self.ok(self.get(path, self.bob))
        for user in (eve, other):
            self.assert_refused(self.get(path, user), 404, "M_NOT_FOUND")
        for query in ("limit=0", "limit=x", "dir=x", "from=x", "to=x", "recurse=x"):
            self.assert_refused(self.get(f"{path}?{query}", self.alice), 400, "M_INVALID_PARAM")


class ThreadsTests(RelationsCase):
    def threads(self, query: str = "", user: TestUser | None = None) -> Any:
        return self.ok(self.get(f"{V1}/rooms/{self.room}/threads?{query}", user or self.alice))

    def ids(self, query: str = "", user: TestUser | None = None) -> list[str]:
        return [event["event_id"] for event in self.threads(query, user)["chunk"]]

    def test_threads_come_by_their_newest_event(self) -> None:
        roots = [self.given_message(self.alice, self.room) for _ in range(5)]
        for root in roots:
            self.relate(self.bob, "m.thread", root)
        self.assertEqual(self.ids(), roots[::-1])
        newest = self.relate(self.bob, "m.thread", roots[1])
        expected = [roots[1], roots[4], roots[3], roots[2], roots[0]]
        self.assertEqual(self.ids(), expected)
        first = self.threads()["chunk"][0]
        self.assertEqual(first["unsigned"]["m.relations"]["m.thread"]["latest_event"]["event_id"], newest)
        found: list[str] = []
        token = ""
        for _ in range(5):
            page = self.threads(f"limit=2{token}")
            found.extend(event["event_id"] for event in page["chunk"])
            if "next_batch" not in page:
                break
            token = f"&from={page['next_batch']}"
        self.assertEqual(found, expected)
        self.given_redacted(self.bob, self.room, newest)
        self.assertEqual(self.ids(), roots[::-1])

    def test_participated_means_begun_or_written_in(self) -> None:
        own = self.given_message(self.bob, self.room)
        self.relate(self.alice, "m.thread", own)
        joined = self.given_message(self.alice, self.room)
        self.relate(self.bob, "m.thread", joined)
        foreign = self.given_message(self.alice, self.room)
        self.relate(self.alice, "m.thread", foreign)
        self.assertEqual(self.ids("include=participated", self.bob), [joined, own])
        self.assertEqual(self.ids("include=all", self.bob), [foreign, joined, own])

    def test_root_of_an_ignored_user_is_redacted(self) -> None:
        root = self.given_message(self.bob, self.room, "spam")
        self.relate(self.alice, "m.thread", root)
        self.given_ignored(self.alice, self.bob)
        self.assertEqual(self.threads()["chunk"][0]["content"], {})
        self.assertEqual(self.threads("", self.bob)["chunk"][0]["content"]["body"], "spam")

    def test_strangers_and_wrong_requests_are_refused(self) -> None:
        path = f"{V1}/rooms/{self.room}/threads"
        self.ok(self.get(path, self.bob))
        self.assert_refused(self.get(path, self.given_user("eve")), 403, "M_FORBIDDEN")
        for query in ("limit=0", "include=x", "from=x"):
            self.assert_refused(self.get(f"{path}?{query}", self.alice), 400, "M_INVALID_PARAM")


class TimestampTests(RoomsTestCase):
    def test_nearest_visible_event_is_found(self) -> None:
        room = self.given_private_room(self.alice, "joined")
        self.clock.advance(10)
        hidden = self.given_message(self.alice, room)
        self.act(self.alice, room, "invite", self.bob)
        self.act(self.bob, room, "join")
        self.clock.advance(10)
        seen = self.given_message(self.alice, room)
        now = int(self.clock.seconds() * 1000)

        def find(user: TestUser, at_ms: int, direction: str) -> tuple[int, Any]:
            return self.get(f"{V1}/rooms/{room}/timestamp_to_event?ts={at_ms}&dir={direction}", user)

        self.assertEqual(self.ok(find(self.alice, now - 10_001, "f"))["event_id"], hidden)
        answer = self.ok(find(self.alice, now - 9_999, "f"))
        self.assertEqual(answer, {"event_id": seen, "origin_server_ts": now})
        self.assertEqual(self.ok(find(self.alice, now + 1, "b"))["event_id"], seen)
        self.assertEqual(self.ok(find(self.alice, now, "b"))["event_id"], seen)
        self.assert_refused(find(self.alice, now + 1, "f"), 404, "M_NOT_FOUND")
        self.assert_refused(find(self.alice, 1, "b"), 404, "M_NOT_FOUND")
        for direction in "bf":
            found = self.ok(find(self.bob, now - 10_000, direction))["event_id"]
            self.assertNotEqual(found, hidden)
            self.assertTrue(self.sees(self.bob, room, found))
        self.assert_refused(find(self.given_user("eve"), now, "b"), 403, "M_FORBIDDEN")
        path = f"{V1}/rooms/{room}/timestamp_to_event"
        self.assert_refused(self.get(f"{path}?dir=b", self.alice), 400, "M_MISSING_PARAM")
        self.assert_refused(self.get(f"{path}?ts=x&dir=b", self.alice), 400, "M_INVALID_PARAM")
        self.assert_refused(self.get(f"{path}?ts=1", self.alice), 400, "M_MISSING_PARAM")
