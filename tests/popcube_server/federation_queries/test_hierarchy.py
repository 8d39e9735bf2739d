"""Spaces across servers: what this server shows of its own, and what its users see of others'."""

from typing import Any
from urllib.parse import quote

from tests.popcube_server.federation_queries.queries_case import (
    FAR,
    FEDERATION,
    FarAnswers,
    QueriesTestCase,
    refusal,
    success,
)
from tests.popcube_server.rooms.rooms_case import V1, V3
from tests.popcube_server.server_case import ONE, TWO, TestUser

PATH = f"{FEDERATION}/hierarchy/"
SPACE = {"creation_content": {"type": "m.space"}}


def far_room(localpart: str, **more: Any) -> dict[str, Any]:
    return {
        "room_id": f"!{localpart}:{FAR}",
        "name": localpart,
        "num_joined_members": 1,
        "world_readable": False,
        "guest_can_join": False,
        "join_rule": "public",
        "room_version": "11",
        **more,
    }


def far_child(room_id: str, **content: Any) -> dict[str, Any]:
    return {
        "type": "m.space.child",
        "state_key": room_id,
        "sender": f"@x:{FAR}",
        "content": {"via": [FAR], **content},
        "origin_server_ts": 1,
    }


class HierarchyTestCase(QueriesTestCase):
    def add(self, user: TestUser, space: str, child: str, via: str = ONE, **content: Any) -> None:
        self.given_state(user, space, "m.space.child", {"via": [via], **content}, child)

    def tree(self, user: TestUser, space: str, query: str = "") -> Any:
        return self.ok(self.get(f"{V1}/rooms/{quote(space)}/hierarchy{query}", user))

    def names(self, user: TestUser, space: str, query: str = "") -> list[str]:
        return [room.get("name") for room in self.tree(user, space, query)["rooms"]]

    def given_with_rule(self, name: str, join_rule: str, **more: Any) -> str:
        initial = [{"type": "m.room.join_rules", "content": {"join_rule": join_rule, **more}}]
        return self.given_room(self.alice, name=name, initial_state=initial)


class SharedHierarchyTests(HierarchyTestCase):
    """`two.example` asks `one.example`."""

    def setUp(self) -> None:
        super().setUp()
        self.space = self.given_room(self.alice, name="space", **SPACE)

    def shown(self, room_id: str, query: str = "") -> Any:
        return self.ok(self.ask("GET", f"{PATH}{quote(room_id)}{query}"))

    def child(self, name: str, join_rule: str, **more: Any) -> str:
        room_id = self.given_with_rule(name, join_rule, **more)
        self.add(self.alice, self.space, room_id)
        return room_id

    def test_children_are_told_by_what_the_server_may_see(self) -> None:
        closed = self.child("closed", "invite")
        for name in ("public", "knock"):
            self.child(name, name)
        window = self.given_private_room(self.alice, "world_readable", name="window")
        self.add(self.alice, self.space, window)
        self.add(self.alice, self.space, f"!unknown:{FAR}")
        shown = self.shown(self.space)
        self.assertEqual(sorted(room["name"] for room in shown["children"]), ["knock", "public", "window"])
        self.assertEqual(shown["inaccessible_children"], [closed])
        self.assertEqual(len(shown["room"]["children_state"]), 5)
        # An invite of one of its users opens a room for a server.
        self.act(self.alice, closed, "invite", self.carol)
        self.assertIn("closed", [room["name"] for room in self.shown(self.space)["children"]])

    def test_restricted_rooms_are_for_servers_with_members_in_allowed_rooms(self) -> None:
        club = self.given_room(self.alice, name="club")
        allow = [{"type": "m.room_membership", "room_id": club}]
        restricted = self.child("restricted", "restricted", allow=allow)
        self.assertEqual(self.shown(self.space)["inaccessible_children"], [restricted])
        self.assert_refused(self.ask("GET", PATH + quote(restricted)), 404, "M_NOT_FOUND")
        self.ok(self.post(f"{V3}/join/{quote(club)}?via={ONE}", {}, self.carol))
        shown = self.shown(self.space)
        self.assertEqual((shown["children"][0]["name"], shown["inaccessible_children"]), ("restricted", []))
        self.assertEqual(shown["children"][0]["allowed_room_ids"], [club])

    def test_hidden_unknown_and_unfederated_rooms_are_not_found(self) -> None:
        own = self.given_room(self.alice, name="own", creation_content={"m.federate": False})
        self.add(self.alice, self.space, own)
        barred = self.child("barred", "public")
        self.given_state(self.alice, barred, "m.room.server_acl", {"allow": ["*"], "deny": [TWO]})
        private = self.given_private_room(self.alice)
        for room_id in (own, barred, private, "!none:one.example", "x"):
            self.assert_refused(self.ask("GET", PATH + quote(room_id)), 404, "M_NOT_FOUND")
        shown = self.shown(self.space)
        self.assertEqual((shown["children"], set(shown["inaccessible_children"])), ([], {own, barred}))
        self.assert_refused(self.call("GET", PATH + quote(self.space)), 401, "M_UNAUTHORIZED")

    def test_only_suggested_children_can_be_asked_for(self) -> None:
        for name in ("a", "b"):
            self.add(self.alice, self.space, self.given_room(self.alice, name=name), suggested=name == "b")
        shown = self.shown(self.space, "?suggested_only=true")
        self.assertEqual([room["name"] for room in shown["children"]], ["b"])
        self.assertEqual(len(shown["room"]["children_state"]), 1)
        answer = self.ask("GET", f"{PATH}{quote(self.space)}?suggested_only=1")
        self.assert_refused(answer, 400, "M_INVALID_PARAM")

    def test_room_that_is_no_space_has_no_children(self) -> None:
        room_id = self.given_room(self.alice, name="room")
        self.add(self.alice, room_id, self.space)
        shown = self.shown(room_id)
        self.assertEqual((shown["room"]["name"], shown["room"]["children_state"]), ("room", []))

    def test_room_that_was_left_is_for_others_to_tell_of(self) -> None:
        room_id = self.given_room(self.carol, name="theirs")
        self.ok(self.post(f"{V3}/join/{quote(room_id)}?via={TWO}", {}, self.alice))
        self.shown(room_id)
        self.act(self.alice, room_id, "leave")
        self.assert_refused(self.ask("GET", PATH + quote(room_id)), 404, "M_NOT_FOUND")


class RemoteHierarchyTests(HierarchyTestCase):
    """Users of `one.example` look at spaces with rooms elsewhere."""

    def setUp(self) -> None:
        super().setUp()
        self.far: FarAnswers = self.given_far()
        self.space = self.given_room(self.alice, name="space", **SPACE)

    def given_far_space(
        self, room: dict[str, Any], children: list[Any], told: list[Any] | None = None, **more: Any
    ) -> str:
        """What `far.example` answers about a room of its own; its ID."""
        room_id: str = room["room_id"]
        self.far.answers[PATH + room_id] = {
            "room": {**room, "children_state": children},
            "children": told or [],
            "inaccessible_children": [],
            **more,
        }
        return room_id

    def test_rooms_of_the_other_organisation_are_in_the_tree(self) -> None:
        theirs = self.given_room(self.carol, name="theirs", room_version="11", **SPACE)
        below = self.given_room(self.carol, name="below")
        hidden = self.given_room(self.carol, name="hidden", preset="private_chat")
        for child in (below, hidden):
            self.add(self.carol, theirs, child, TWO)
        self.add(self.alice, self.space, theirs, TWO)
        self.assertEqual(self.names(self.alice, self.space), ["space", "theirs", "below"])
        self.assertEqual(self.sent_to(TWO, "/hierarchy/"), 1)
        # Without a `via`, the server in the ID is asked.
        self.assertEqual(self.names(self.alice, theirs), ["theirs", "below"])

    def test_rooms_that_do_not_federate_stay_where_they_are(self) -> None:
        own = self.given_room(self.carol, name="own", creation_content={"m.federate": False})
        self.add(self.alice, self.space, own, TWO)
        self.assertEqual(self.names(self.alice, self.space), ["space"])
        summary = f"{V1}/room_summary/{quote(own)}?via={TWO}"
        self.assert_refused(self.get(summary, self.alice), 404, "M_NOT_FOUND")

    def test_answer_is_remembered_for_everybody(self) -> None:
        self.add(self.alice, self.space, self.given_far_space(far_room("a"), []), FAR)
        for user in (self.alice, self.bob) * 10:
            self.assertEqual(self.names(user, self.space), ["space", "a"])
        self.assertEqual(len(self.far.asked), 1)
        self.clock.advance(301)
        self.names(self.bob, self.space)
        self.assertEqual(len(self.far.asked), 2)

    def test_local_knowledge_comes_first(self) -> None:
        ours = self.given_room(self.alice, name="ours")
        closed = self.given_private_room(self.alice, name="closed")
        lies = [{**far_room("x"), "room_id": room_id, "name": "lie"} for room_id in (ours, closed)]
        below = self.given_far_space(
            far_room("a", room_type="m.space"),
            [far_child(ours), far_child(closed)],
            lies,
            inaccessible_children=[ours],
        )
        self.add(self.alice, self.space, below, FAR)
        self.assertCountEqual(self.names(self.alice, below), ["a", "ours", "closed"])
        self.assertCountEqual(self.names(self.bob, self.space), ["space", "a", "ours"])

    def test_restricted_rooms_are_for_those_who_meet_a_condition(self) -> None:
        club = self.given_room(self.alice, name="club")
        room = far_room("a", join_rule="restricted", allowed_room_ids=[club, 7, "x"])
        self.add(self.alice, self.space, self.given_far_space(room, []), FAR)
        self.assertEqual(self.names(self.bob, self.space), ["space"])
        found = self.tree(self.alice, self.space)["rooms"][1]
        self.assertEqual((found["name"], found["allowed_room_ids"]), ("a", [club]))

    def test_children_that_were_told_of_are_not_asked_for(self) -> None:
        spaces = [far_room(f"s{number}", room_type="m.space") for number in range(2)]
        rooms = [far_room(f"r{number}") for number in range(30)]
        root = self.given_far_space(
            far_room("root", room_type="m.space"),
            [far_child(room["room_id"]) for room in (*spaces, *rooms)],
            [*spaces, *rooms],
        )
        for space in spaces:
            self.given_far_space(space, [])
        self.add(self.alice, self.space, root, FAR)
        self.assertEqual(len(self.names(self.alice, self.space)), 34)
        self.assertEqual(len(self.far.asked), 3)

    def test_inaccessible_children_are_not_asked_for(self) -> None:
        children = [f"!{name}:{FAR}" for name in ("a", "b")]
        root = self.given_far_space(
            far_room("root", room_type="m.space"),
            [far_child(child) for child in children],
            inaccessible_children=[children[0], "!else:x", 7],
        )
        self.add(self.alice, self.space, root, FAR)
        self.assertEqual(self.names(self.alice, self.space), ["space", "root"])
        self.assertEqual([uri for uri, _ in self.far.asked], [PATH + root, PATH + children[1]])

    def test_loops_and_endless_trees_end(self) -> None:
        for number in range(300):
            self.given_far_space(
                far_room(f"s{number}", room_type="m.space"),
                [far_child(f"!s{number + 1}:{FAR}"), far_child(self.space), far_child(f"!s0:{FAR}")],
            )
        self.add(self.alice, self.space, f"!s0:{FAR}", FAR)
        page = self.tree(self.alice, self.space, "?limit=100")
        # As deep as a tree may be, and no deeper.
        self.assertEqual(len(page["rooms"]), 51)
        self.assertNotIn("next_batch", page)

    def test_one_walk_asks_for_so_many_rooms_and_no_more(self) -> None:
        children = [far_child(f"!c{number}:{FAR}") for number in range(1_000)]
        root = self.given_far_space(far_room("root", room_type="m.space"), children)
        token = ""
        for _ in range(20):
            page = self.tree(self.alice, root, f"?limit=100{token}")
            if "next_batch" not in page:
                break
            token = f"&from={page['next_batch']}"
        self.assertNotIn("next_batch", page)
        self.assertLess(len(self.far.asked), 112)

    def test_user_who_asked_for_too_much_sees_what_was_found_and_goes_on_later(self) -> None:
        for number in range(190):
            self.get(f"{V1}/room_summary/{quote(f'!x{number}')}?via={FAR}", self.alice)
        for number in range(30):
            room_id = self.given_far_space(far_room(f"r{number}"), [])
            self.add(self.alice, self.space, room_id, FAR, order=f"{number:02}")
        first = self.tree(self.alice, self.space)
        path = f"{V1}/rooms/{quote(self.space)}/hierarchy?from={first['next_batch']}"
        self.assert_refused(self.get(path, self.alice), 429, "M_LIMIT_EXCEEDED")
        self.clock.advance(10)
        rest = self.ok(self.get(path, self.alice))
        names = [room["name"] for room in (*first["rooms"], *rest["rooms"])]
        self.assertEqual(names, ["space", *(f"r{number}" for number in range(30))])

    def test_pages_stay_the_same_whatever_is_said_meanwhile(self) -> None:
        rooms = [far_room(f"r{number}") for number in range(9)]
        room = far_room("root", room_type="m.space")
        children = [far_child(one["room_id"], order=f"{n}") for n, one in enumerate(rooms)]
        root = self.given_far_space(room, children, rooms)
        self.add(self.alice, self.space, root, FAR)
        found: list[str] = []
        token = ""
        for _ in range(10):
            page = self.tree(self.alice, self.space, f"?limit=2{token}")
            found.extend(one["name"] for one in page["rooms"])
            if "next_batch" not in page:
                break
            token = f"&from={page['next_batch']}"
            self.clock.advance(301)
            self.given_far_space(room, children[5:], rooms)
        self.assertEqual(found, ["space", "root", *(one["name"] for one in rooms)])
        # A walk that was forgotten is begun again; the token still works.
        self.restart()
        self.tree(self.alice, self.space, f"?limit=2{token}")

    def test_silent_server_costs_a_while_and_hides_only_its_own_rooms(self) -> None:
        self.network.silent.add("silent.example")
        self.add(self.alice, self.space, "!a:silent.example", "silent.example", order="a")
        self.add(self.alice, self.space, self.given_room(self.alice, name="here"), order="b")
        path = f"{V1}/rooms/{quote(self.space)}/hierarchy"
        pending = self.begin("GET", path, user=self.alice)
        self.assert_waiting(pending)
        self.clock.advance(15)
        page = self.ok(self.finish(pending))
        self.assertEqual([room["name"] for room in page["rooms"]], ["space", "here"])
        self.assertNotIn("next_batch", page)

    def test_server_that_is_down_hides_only_its_own_rooms(self) -> None:
        self.network.down.add("down.example")
        self.add(self.alice, self.space, "!a:down.example", "down.example", order="a")
        self.add(self.alice, self.space, self.given_far_space(far_room("b"), []), FAR, order="b")
        path = f"{V1}/rooms/{quote(self.space)}/hierarchy"
        page = self.ok(self.wait(lambda: self.begin("GET", path, user=self.alice), 15))
        self.assertEqual([room["name"] for room in page["rooms"]], ["space", "b"])

    def test_next_server_of_via_is_asked(self) -> None:
        self.given_far_space(far_room("a"), [])
        servers = ["not a server", 7, ONE, TWO, FAR]
        self.given_state(self.alice, self.space, "m.space.child", {"via": servers}, f"!a:{FAR}")
        self.assertEqual(self.names(self.alice, self.space), ["space", "a"])

    def test_hostile_answers_are_read_with_care(self) -> None:
        self.add(self.alice, self.space, f"!a:{FAR}", FAR)
        good = far_child(f"!b:{FAR}", order="x", suggested=True)
        wrong: tuple[Any, ...] = (
            [],
            {},
            {"room": 7},
            {"room": far_room("other")},
            {"room": far_room("a", num_joined_members=None)},
            success("x" * 5 * 1024 * 1024),
            refusal(404, "M_NOT_FOUND"),
        )
        for answer in wrong:
            self.far.answers[f"{PATH}!a:{FAR}"] = answer
            self.clock.advance(3600)
            self.assertEqual(self.names(self.alice, self.space), ["space"], str(answer)[:80])
        self.clock.advance(3600)
        self.given_far_space(
            far_room("a", room_type="m.space", name={"x": 1}),
            [
                7,
                {},
                {**good, "type": "m.room.name"},
                {**good, "state_key": "b"},
                {**good, "sender": "x"},
                {**good, "content": []},
                {**good, "content": {"via": []}},
                {**good, "content": {"via": ["not a server"]}},
                {**good, "origin_server_ts": "1"},
                {**good, "content": {**good["content"], "via": [FAR, 7, FAR], "more": "x" * 1000}},
            ],
            ["x", far_room("b", avatar_url="https://x"), far_room("unasked")],
            inaccessible_children="x",
        )
        space, child = self.tree(self.alice, self.space)["rooms"][1:]
        self.assertEqual(space["children_state"], [good])
        self.assertNotIn("name", space)
        self.assertEqual(child, {**far_room("b"), "children_state": []})


class RemoteSummaryTests(HierarchyTestCase):
    def summary(self, user: TestUser | None, room_id: str, query: str = "") -> tuple[int, Any]:
        return self.get(f"{V1}/room_summary/{quote(room_id)}{query}", user)

    def test_summary_is_asked_of_via(self) -> None:
        room_id = self.given_room(self.carol, name="theirs")
        self.given_far()
        found = self.ok(self.summary(self.alice, room_id, f"?via={FAR}&via={TWO}"))
        self.assertEqual((found["name"], found["membership"]), ("theirs", "leave"))
        self.assert_refused(self.summary(self.alice, room_id), 404, "M_NOT_FOUND")
        # For those without an account no other server is asked.
        self.network.requests.clear()
        self.assert_refused(self.summary(None, room_id, f"?via={TWO}"), 404, "M_NOT_FOUND")
        self.assertEqual(self.network.requests, [])

    def test_hidden_room_is_not_found(self) -> None:
        room_id = self.given_room(self.carol, name="theirs", preset="private_chat")
        self.assert_refused(self.summary(self.alice, room_id, f"?via={TWO}"), 404, "M_NOT_FOUND")
        self.clock.advance(11)
        self.act(self.carol, room_id, "invite", self.alice)
        found = self.ok(self.summary(self.alice, room_id, f"?via={TWO}"))
        self.assertEqual((found["name"], found["membership"]), ("theirs", "invite"))
        # Who was invited need not say by whom; the ID says nothing of that any more.
        self.ok(self.summary(self.alice, room_id))
        self.assertEqual(self.names(self.alice, room_id), ["theirs"])
        self.assert_refused(self.summary(self.bob, room_id, f"?via={TWO}"), 404, "M_NOT_FOUND")

    def test_many_questions_cost_few_requests(self) -> None:
        far = self.given_far()
        for number in range(300):
            status, _ = self.summary(self.alice, f"!{number}", f"?via={FAR}")
            self.assertIn(status, (404, 429))
        self.assertEqual(status, 429)
        self.assertLess(len(far.asked), 210)
