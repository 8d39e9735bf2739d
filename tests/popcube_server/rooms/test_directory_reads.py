"""Finding rooms from outside: the directory, spaces, previews, aliases, mutual rooms."""

from typing import Any
from urllib.parse import quote

from tests.popcube_server.rooms.rooms_case import V1, V3, RoomsTestCase
from tests.popcube_server.server_case import TWO, TestUser


class PublicRoomsTests(RoomsTestCase):
    def names(self, **body: Any) -> list[str]:
        answer = self.ok(self.post(f"{V3}/publicRooms", body, self.alice))
        return [room.get("name") for room in answer["chunk"]]

    def given_public(self, name: str, members: int = 1, **options: Any) -> str:
        room = self.given_room(self.alice, name=name, visibility="public", **options)
        for number in range(members - 1):
            self.given_joined(self.users[number], room)
        return room

    def setUp(self) -> None:
        super().setUp()
        self.users = [self.bob, self.given_user("carol"), self.given_user("dave")]

    def test_listed_rooms_are_described(self) -> None:
        room = self.given_public(
            "One",
            2,
            topic="About one",
            room_alias_name="one",
            creation_content={"type": "m.space"},
            initial_state=[
                {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}},
                {"type": "m.room.guest_access", "content": {"guest_access": "can_join"}},
                {"type": "m.room.avatar", "content": {"url": "mxc://one.example/a"}},
            ],
        )
        self.given_room(self.alice, name="Unlisted")
        page = self.ok(self.get(f"{V3}/publicRooms", self.bob))
        described = {
            "room_id": room,
            "name": "One",
            "topic": "About one",
            "canonical_alias": "#one:one.example",
            "avatar_url": "mxc://one.example/a",
            "room_type": "m.space",
            "join_rule": "public",
            "num_joined_members": 2,
            "world_readable": True,
            "guest_can_join": True,
        }
        self.assertEqual(page, {"chunk": [described], "total_room_count_estimate": 1})

    def test_description_follows_the_room(self) -> None:
        room = self.given_public("Old")
        self.assertEqual(self.names(), ["Old"])
        self.given_state(self.alice, room, "m.room.name", {"name": "New"})
        self.given_joined(self.bob, room)
        answer = self.ok(self.get(f"{V3}/publicRooms", self.alice))["chunk"][0]
        self.assertEqual((answer["name"], answer["num_joined_members"]), ("New", 2))
        name = self.room_get(self.alice, room, "state/m.room.name?format=event")["event_id"]
        self.given_redacted(self.alice, room, name)
        self.assertEqual(self.names(), [None])

    def test_rooms_are_searched_by_term_and_type(self) -> None:
        self.given_public("Cats")
        self.given_public("Dogs", topic="and some CATS")
        self.given_public("Birds", creation_content={"type": "m.space"}, room_alias_name="parrots")
        self.assertEqual(sorted(self.names(filter={"generic_search_term": "cats"})), ["Cats", "Dogs"])
        self.assertEqual(self.names(filter={"generic_search_term": "PARROT"}), ["Birds"])
        self.assertEqual(self.names(filter={"room_types": ["m.space"]}), ["Birds"])
        self.assertEqual(sorted(self.names(filter={"room_types": [None]})), ["Cats", "Dogs"])
        self.assertEqual(len(self.names(filter={"room_types": [None, "m.space"]})), 3)
        self.assertEqual(self.names(filter={"room_types": []}), [])
        self.assertEqual(self.names(third_party_instance_id="irc"), [])

    def test_pages_cover_every_room_once_in_both_directions(self) -> None:
        sizes = {"a": 1, "b": 4, "c": 2, "d": 1, "e": 3}
        for name, members in sizes.items():
            self.given_public(name, members)
        page = self.ok(self.get(f"{V3}/publicRooms?limit=2", self.alice))
        self.assertNotIn("prev_batch", page)
        found = [[room["name"] for room in page["chunk"]]]
        while "next_batch" in page:
            page = self.ok(
                self.get(f"{V3}/publicRooms?limit=2&since={quote(page['next_batch'])}", self.alice)
            )
            found.append([room["name"] for room in page["chunk"]])
        self.assertEqual(found[:2], [["b", "e"], ["c", found[1][1]]])
        self.assertEqual(sorted(name for names in found for name in names), sorted(sizes))
        self.assertEqual(page["total_room_count_estimate"], 5)
        page = self.ok(self.get(f"{V3}/publicRooms?limit=2&since={quote(page['prev_batch'])}", self.alice))
        self.assertEqual([room["name"] for room in page["chunk"]], found[1])

    def test_list_wants_a_token_and_sound_parameters(self) -> None:
        self.assert_refused(self.get(f"{V3}/publicRooms"), 401, "M_MISSING_TOKEN")
        self.assert_refused(self.post(f"{V3}/publicRooms", {}), 401, "M_MISSING_TOKEN")
        for query in ("limit=0", "since=x"):
            answer = self.get(f"{V3}/publicRooms?{query}", self.alice)
            self.assert_refused(answer, 400, "M_INVALID_PARAM")
        for body in ({"filter": {"room_types": "m.space"}}, {"filter": {"room_types": [1]}}, {"limit": "1"}):
            self.assert_refused(self.post(f"{V3}/publicRooms", body, self.alice), 400, "M_BAD_JSON")
        answer = self.get(f"{V3}/publicRooms?server=other.example", self.alice)
        self.assert_refused(answer, 504, "M_UNKNOWN")

    def test_room_is_asked_whether_it_is_listed(self) -> None:
        listed, unlisted = self.given_public("One"), self.given_room(self.alice)
        path = f"{V3}/directory/list/room/"
        self.assertEqual(self.ok(self.get(path + listed)), {"visibility": "public"})
        self.assertEqual(self.ok(self.get(path + unlisted)), {"visibility": "private"})
        self.assert_refused(self.get(path + "!none:one.example"), 404, "M_NOT_FOUND")
        self.ok(self.put(path + listed, {"visibility": "private"}, self.alice))
        self.assertEqual(self.names(), [])

    def test_rooms_of_one_organisation_are_not_listed_by_the_other(self) -> None:
        self.given_public("One")
        other = self.given_user("alice", TWO)
        self.assertEqual(self.ok(self.get(f"{V3}/publicRooms", other))["chunk"], [])
        self.assertEqual(self.names(), ["One"])


class OpenPublicRoomsTests(RoomsTestCase):
    extra_configuration = "allow_public_rooms_without_auth: true"

    def test_list_can_be_opened_to_everybody(self) -> None:
        self.given_room(self.alice, name="One", visibility="public")
        for answer in (self.get(f"{V3}/publicRooms"), self.post(f"{V3}/publicRooms", {})):
            self.assertEqual(len(self.ok(answer)["chunk"]), 1)


class HierarchyTests(RoomsTestCase):
    def given_space(self, name: str, **options: Any) -> str:
        return self.given_room(self.alice, name=name, creation_content={"type": "m.space"}, **options)

    def add(self, space: str, child: str, **content: Any) -> None:
        self.given_state(self.alice, space, "m.space.child", {"via": ["one.example"], **content}, child)

    def names(self, space: str, query: str = "", user: TestUser | None = None) -> list[str]:
        answer = self.ok(self.get(f"{V1}/rooms/{space}/hierarchy?{query}", user or self.alice))
        return [room["name"] for room in answer["rooms"]]

    def test_tree_is_walked_depth_first_in_the_order_of_the_spaces(self) -> None:
        top, middle = self.given_space("top"), self.given_space("middle")
        rooms = {name: self.given_room(self.alice, name=name) for name in "abcdef"}
        self.add(middle, rooms["f"])
        self.add(middle, top)  # A loop.
        self.add(top, rooms["d"])
        self.clock.advance(1)
        self.add(top, rooms["c"])
        self.add(top, rooms["e"], order="\u00e9")  # Not valid: as if there were none.
        self.add(top, rooms["b"], order="2")
        self.add(top, middle, order="1")
        self.add(top, rooms["a"], order="0")
        self.add(top, "!unknown:other.example")
        last = ["c", "e"] if rooms["c"] < rooms["e"] else ["e", "c"]
        self.assertEqual(self.names(top), ["top", "a", "middle", "f", "b", "d", *last])
        self.assertEqual(self.names(top, "max_depth=1"), ["top", "a", "middle", "b", "d", *last])
        self.assertEqual(self.names(top, "max_depth=0"), ["top"])
        self.given_state(self.alice, top, "m.space.child", {}, middle)
        self.assertEqual(self.names(top), ["top", "a", "b", "d", *last])

    def test_room_in_two_spaces_stands_where_it_is_met_first(self) -> None:
        top, middle = self.given_space("top"), self.given_space("middle")
        room = self.given_room(self.alice, name="room")
        self.add(top, middle, order="1")
        self.add(top, room, order="2")
        self.add(middle, room)
        self.assertEqual(self.names(top), ["top", "middle", "room"])

    def test_children_are_given_stripped(self) -> None:
        space, room = self.given_space("space"), self.given_room(self.alice, name="room")
        self.add(space, room, suggested=True)
        self.add(space, "!elsewhere:other.example")
        rooms = self.ok(self.get(f"{V1}/rooms/{space}/hierarchy", self.alice))["rooms"]
        children = {child["state_key"]: child for child in rooms[0]["children_state"]}
        self.assertEqual(set(children), {room, "!elsewhere:other.example"})
        self.assertEqual(set(children[room]), {"type", "state_key", "sender", "content", "origin_server_ts"})
        self.assertEqual(rooms[1]["children_state"], [])
        self.assertEqual((rooms[0]["room_type"], rooms[0]["room_version"]), ("m.space", "12"))
        self.assertEqual(self.names(space, "suggested_only=true"), ["space", "room"])

    def test_only_suggested_rooms_can_be_asked_for(self) -> None:
        space = self.given_space("space")
        for name in ("yes", "no"):
            self.add(space, self.given_room(self.alice, name=name), suggested=name == "yes")
        self.assertEqual(self.names(space, "suggested_only=true"), ["space", "yes"])

    def test_pages_cover_the_tree_once(self) -> None:
        space = self.given_space("space")
        for number in range(5):
            self.add(space, self.given_room(self.alice, name=str(number)), order=str(number))
        found: list[str] = []
        token = ""
        for _ in range(5):
            page = self.ok(self.get(f"{V1}/rooms/{space}/hierarchy?limit=2{token}", self.alice))
            found.extend(room["name"] for room in page["rooms"])
            if "next_batch" not in page:
                break
            token = f"&from={page['next_batch']}"
        self.assertEqual(found, ["space", "0", "1", "2", "3", "4"])
        for query in (f"max_depth=1{token}", f"suggested_only=true{token}", "from=x", "limit=0"):
            answer = self.get(f"{V1}/rooms/{space}/hierarchy?{query}", self.alice)
            self.assert_refused(answer, 400, "M_INVALID_PARAM")

    def test_each_sees_the_rooms_that_they_could_get_into(self) -> None:
        space = self.given_space("space")
        for name, rule in (
            ("public", "public"),
            ("knock", "knock"),
            ("closed", "invite"),
            ("private", "private"),
        ):
            self.add(space, self.given_with_rule(name, {"join_rule": rule}), order=name)
        members = self.given_room(self.alice, name="members")
        allow = [{"type": "m.room_membership", "room_id": members}]
        self.add(
            space, self.given_with_rule("restricted", {"join_rule": "restricted", "allow": allow}), order="r"
        )
        invited = self.given_private_room(self.alice, name="invited", invite=[self.bob.user_id])
        self.add(space, invited, order="t")
        self.add(space, self.given_private_room(self.alice, "world_readable", name="window"), order="z")
        self.assertEqual(
            self.names(space),
            ["space", "closed", "knock", "private", "public", "restricted", "invited", "window"],
        )
        self.assertEqual(self.names(space, "", self.bob), ["space", "knock", "public", "invited", "window"])
        self.given_joined(self.bob, members)
        self.assertIn("restricted", self.names(space, "", self.bob))

    def given_with_rule(self, name: str, content: Any) -> str:
        initial = [{"type": "m.room.join_rules", "content": content}]
        return self.given_room(self.alice, name=name, initial_state=initial)

    def test_hidden_spaces_are_refused(self) -> None:
        space = self.given_space("space", preset="private_chat")
        path = f"{V1}/rooms/{space}/hierarchy"
        self.assertEqual(self.names(space), ["space"])
        self.assert_refused(self.get(path, self.bob), 403, "M_FORBIDDEN")
        self.assert_refused(self.get(path, self.given_user("alice", TWO)), 403, "M_FORBIDDEN")
        self.assert_refused(self.get(f"{V1}/rooms/!none:one.example/hierarchy", self.bob), 403, "M_FORBIDDEN")
        open_space = self.given_space("open")
        self.act(self.alice, open_space, "ban", self.bob)
        self.assert_refused(self.get(f"{V1}/rooms/{open_space}/hierarchy", self.bob), 403, "M_FORBIDDEN")


class PreviewTests(RoomsTestCase):
    def test_summary_is_given_by_id_and_alias_and_under_the_old_names(self) -> None:
        encryption = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
        room = self.given_room(self.alice, name="One", room_alias_name="one", initial_state=[encryption])
        summary = self.ok(self.get(f"{V1}/room_summary/{room}", self.alice))
        self.assertEqual(summary["membership"], "join")
        self.assertEqual((summary["name"], summary["encryption"]), ("One", "m.megolm.v1.aes-sha2"))
        alias = quote("#one:one.example")
        for path in (
            f"{V1}/room_summary/{alias}",
            f"/_matrix/client/unstable/im.nheko.summary/rooms/{alias}/summary",
            f"/_matrix/client/unstable/im.nheko.summary/summary/{alias}",
        ):
            found = self.ok(self.plain(path))
            self.assertEqual(found, {**summary, "membership": "leave"})

    def plain(self, path: str) -> tuple[int, Any]:
        """A call of which the specification need not know."""
        return self.finish(self.begin("GET", path, None, self.bob))

    def test_without_a_token_only_open_rooms_are_shown(self) -> None:
        public = self.given_room(self.alice)
        private = self.given_private_room(self.alice)
        self.assertNotIn("membership", self.ok(self.get(f"{V1}/room_summary/{public}")))
        self.ok(self.get(f"{V1}/room_summary/{private}", self.alice))
        for user in (None, self.bob):
            self.assert_refused(self.get(f"{V1}/room_summary/{private}", user), 404, "M_NOT_FOUND")
            self.assert_refused(self.get(f"{V1}/room_summary/!none:one.example", user), 404, "M_NOT_FOUND")
        self.act(self.alice, private, "invite", self.bob)
        self.assertEqual(self.ok(self.get(f"{V1}/room_summary/{private}", self.bob))["membership"], "invite")

    def test_aliases_are_for_members_unless_the_room_is_open(self) -> None:
        room = self.given_private_room(self.alice, room_alias_name="one")
        self.ok(self.put(f"{V3}/directory/room/{quote('#two:one.example')}", {"room_id": room}, self.alice))
        path = f"{V3}/rooms/{room}/aliases"
        expected = {"aliases": ["#one:one.example", "#two:one.example"]}
        self.assertEqual(self.ok(self.get(path, self.alice)), expected)
        self.assert_refused(self.get(path, self.bob), 403, "M_FORBIDDEN")
        self.given_state(
            self.alice, room, "m.room.history_visibility", {"history_visibility": "world_readable"}
        )
        self.assertEqual(self.ok(self.get(path, self.bob)), expected)

    def test_mutual_rooms_are_those_that_both_are_in(self) -> None:
        rooms = [self.given_room(self.alice) for _ in range(3)]
        for room in rooms[:2]:
            self.given_joined(self.bob, room)
        path = f"{V1}/mutual_rooms"
        shared = self.ok(self.get(f"{path}?user_id={self.bob.user_id}", self.alice))
        self.assertEqual(shared, {"joined": sorted(rooms[:2]), "count": 2})
        rest = self.ok(self.get(f"{path}?user_id={self.bob.user_id}&from=m{min(rooms[:2])}", self.alice))
        self.assertEqual(rest, {"joined": [max(rooms[:2])], "count": 2})
        self.act(self.bob, rooms[0], "leave")
        shared = self.ok(self.get(f"{path}?user_id={self.bob.user_id}", self.alice))
        self.assertEqual(shared["joined"], [rooms[1]])
        nobody = self.ok(self.get(f"{path}?user_id=@nobody:one.example", self.alice))
        self.assertEqual(nobody, {"joined": [], "count": 0})
        for query in (f"user_id={self.alice.user_id}", "user_id=bob", "user_id=@b:x&from=x"):
            self.assert_refused(self.get(f"{path}?{query}", self.alice), 400, "M_INVALID_PARAM")
        self.assert_refused(self.get(path, self.alice), 400, "M_MISSING_PARAM")

    def test_initial_sync_shows_a_room_to_members_and_through_the_window(self) -> None:
        room = self.given_private_room(self.alice, "world_readable", name="One")
        messages = [self.given_message(self.alice, room) for _ in range(3)]
        path = f"{V3}/rooms/{room}/initialSync"
        for user, membership in ((self.alice, "join"), (self.bob, None)):
            answer = self.ok(self.get(f"{path}?limit=2", user))
            self.assertEqual([event["event_id"] for event in answer["messages"]["chunk"]], messages[1:])
            self.assertEqual((answer["visibility"], answer.get("membership")), ("private", membership))
            self.assertIn("m.room.name", [event["type"] for event in answer["state"]])
            earlier = self.room_get(user, room, f"messages?dir=b&limit=1&from={answer['messages']['start']}")
            self.assertEqual(earlier["chunk"][0]["event_id"], messages[0])
        closed = self.given_private_room(self.alice)
        self.assert_refused(self.get(f"{V3}/rooms/{closed}/initialSync", self.bob), 403, "M_FORBIDDEN")
