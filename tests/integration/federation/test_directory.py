"""Finding rooms of the other side: its directory, aliases, spaces, summaries, and what happened at a time."""

import http.client
import json
import ssl
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from tests.integration.federation.pairs import (
    OursOnPostgresWithSynapse,
    OursOnSqliteWithSynapse,
    Scenarios,
    TwoOfOurs,
    run_authority,
)
from tests.integration.federation.peers import Answer, Peer, User, eventually, quote

SPACE = {"type": "m.space"}


class DirectoryScenarios(Scenarios):
    def test_the_directory_of_the_other_side_is_read_searched_and_paged(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            word = localpart(alice)
            names = {f"{word} number {number}" for number in range(3)}
            room_ids = {
                alice.create_room(preset="public_chat", visibility="public", name=name) for name in names
            }
            alice.create_room(preset="public_chat", visibility="private", name=f"{word} not listed")
            self.wait_until_listed(alice, near, word, names)
            found = search_rooms(bob, near, word)
            self.assertEqual({room["name"] for room in found}, names)
            self.assertEqual({room["room_id"] for room in found}, room_ids)
            listed = bob.get("/publicRooms", {"server": near.server_name, "limit": 1000})["chunk"]
            self.assertLessEqual(room_ids, {room["room_id"] for room in listed})

    def test_an_alias_of_the_other_side_leads_to_its_room(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            name = localpart(alice)
            room_id = alice.create_room(preset="public_chat", room_alias_name=name)
            path = f"/directory/room/{quote(f'#{name}:{near.server_name}')}"
            answer = bob.get(path)
            self.assertEqual(answer["room_id"], room_id)
            self.assertIn(near.server_name, answer["servers"])
            alice.call("DELETE", path).ok()
            another = near.register("another")
            self.assertEqual(another.call("GET", path).status, 404)
            missing = quote(f"#nothing-here:{near.server_name}")
            self.assertEqual(bob.call("GET", f"/directory/room/{missing}").status, 404)

    def test_a_space_of_the_other_side_is_walked_through(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            open_room = alice.create_room(preset="public_chat", name="open")
            secret_room = alice.create_room(preset="private_chat", name="secret")
            inner = given_space(alice, "inner", open_room)
            outer = given_space(alice, "outer", inner, secret_room)
            rooms = hierarchy(bob, self.given_own_space(bob, outer))
            self.assertEqual(rooms[outer]["name"], "outer")
            self.assertEqual(rooms[inner]["name"], "inner")
            self.assertEqual(rooms[open_room]["name"], "open")
            self.assertNotIn(secret_room, rooms)
            children = {child["state_key"] for child in rooms[outer]["children_state"]}
            self.assertEqual(children, {inner, secret_room})

    def test_a_joined_space_shows_rooms_for_its_members(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            space = alice.create_room(preset="public_chat", creation_content=SPACE)
            allow = [{"type": "m.room_membership", "room_id": space}]
            rules = {"join_rule": "restricted", "allow": allow}
            state = {"type": "m.room.join_rules", "state_key": "", "content": rules}
            room_id = alice.create_room(preset="private_chat", initial_state=[state], name="for members")
            alice.send_state(space, "m.space.child", {"via": [near.server_name]}, room_id)
            bob.join(space, near.server_name)
            self.settle(space, alice, bob)
            self.wait_for_child(bob, space, room_id, "for members")

    def test_a_room_of_the_other_side_has_a_summary(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = alice.create_room(preset="public_chat", name="A room", topic="What for")
            summary = summarize(bob, room_id, near).ok()
            self.assertEqual(
                (summary["name"], summary["topic"], summary["num_joined_members"], summary["join_rule"]),
                ("A room", "What for", 1, "public"),
            )
            secret = alice.create_room(preset="private_chat")
            self.assertEqual(summarize(bob, secret, near).status, 404)

    def test_what_happened_at_a_time_is_asked_of_the_other_side(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = alice.create_room(preset="public_chat")
            event_id = alice.send_text(room_id, "before you came")
            event = alice.get(f"/rooms/{quote(room_id)}/event/{quote(event_id)}")
            bob.join(room_id, near.server_name)
            self.settle(room_id, alice, bob)
            path = f"/_matrix/client/v1/rooms/{quote(room_id)}/timestamp_to_event"
            at = event["origin_server_ts"]
            for direction in "fb":
                found = bob.get(path, {"ts": at, "dir": direction})
                self.assertEqual((found["event_id"], found["origin_server_ts"]), (event_id, at), direction)

    def test_a_token_tells_a_service_who_somebody_is(self) -> None:
        for peer in (self.here, self.there):
            alice = peer.register("alice")
            token = alice.post(f"/user/{quote(alice.user_id)}/openid/request_token")
            self.assertEqual(token["matrix_server_name"], peer.server_name)
            answer = user_info(peer, token["access_token"])
            self.assertEqual((answer.status, answer.json), (200, {"sub": alice.user_id}))
            refused = user_info(peer, alice.token)
            self.assertEqual((refused.status, refused.json["errcode"]), (401, "M_UNKNOWN_TOKEN"))

    def test_users_of_the_other_side_are_found_by_who_shares_a_room_with_them(self) -> None:
        # Only here: Synapse asks for profiles of others once in a minute.
        alice, bob = self.there.register("alice"), self.here.register("bob")
        stranger = self.here.register("stranger")
        word = f"hidden{localpart(alice)[-6:]}"
        alice.put(f"/profile/{quote(alice.user_id)}/displayname", {"displayname": word})
        room_id = alice.create_room(preset="private_chat", invite=[bob.user_id])
        self.wait_for_invite(bob, room_id)
        bob.join(room_id)
        self.settle(room_id, alice, bob)
        self.wait_until_found(bob, word, alice)
        self.assertNotIn(alice.user_id, search_users(stranger, word))

    def wait_until_listed(self, user: User, peer: Peer, word: str, names: set[str]) -> None:
        # Synapse lists a room a moment after it was made.
        eventually(
            lambda: {room["name"] for room in search_rooms(user, peer, word)} == names, "all are listed"
        )

    def wait_for_invite(self, user: User, room_id: str) -> None:
        eventually(lambda: room_id in user.rooms("invite"), f"{user.user_id} is invited")

    def wait_until_found(self, searcher: User, word: str, user: User) -> None:
        eventually(lambda: user.user_id in search_users(searcher, word), f"{user.user_id} is found")

    def wait_for_child(self, user: User, space: str, room_id: str, name: str) -> None:
        eventually(
            lambda: hierarchy(user, space).get(room_id, {}).get("name") == name,
            f"{name} is shown in the space",
        )

    def given_own_space(self, user: User, child: str) -> str:
        """A space of the user's with another space in it, which she has not joined."""
        other = self.here if user.peer is self.there else self.there
        return given_space(user, "own", child, via=other)


def given_space(user: User, name: str, *children: str, via: Peer | None = None) -> str:
    space = user.create_room(preset="public_chat", name=name, creation_content=SPACE)
    server = (via or user.peer).server_name
    for child in children:
        user.send_state(space, "m.space.child", {"via": [server]}, child)
    return space


def search_rooms(user: User, peer: Peer, word: str) -> list[Any]:
    """What the directory of a server has for a word, page by page."""
    query = {} if user.peer is peer else {"server": peer.server_name}
    found: list[Any] = []
    body: dict[str, Any] = {"limit": 2, "filter": {"generic_search_term": word}}
    while True:
        page = user.post("/publicRooms", body, query)
        found += page["chunk"]
        if "next_batch" not in page:
            return found
        body["since"] = page["next_batch"]


def hierarchy(user: User, space: str) -> Mapping[str, Any]:
    """Room ID to what is shown of it."""
    path = f"/_matrix/client/v1/rooms/{quote(space)}/hierarchy"
    query: dict[str, Any] = {"limit": 2}
    rooms: dict[str, Any] = {}
    while True:
        page = user.get(path, query)
        rooms |= {room["room_id"]: room for room in page["rooms"]}
        if "next_batch" not in page:
            return rooms
        query["from"] = page["next_batch"]


def summarize(user: User, room_id: str, via: Peer) -> Answer:
    path = f"/_matrix/client/v1/room_summary/{quote(room_id)}"
    answer = user.call("GET", path, None, {"via": via.server_name})
    if answer.status == 404 and answer.json["errcode"] == "M_UNRECOGNIZED":
        # COMPAT: where Synapse has it, it is still under the name that it had before it was in the specification.
        path = f"/_matrix/client/unstable/im.nheko.summary/summary/{quote(room_id)}"
        answer = user.call("GET", path, None, {"via": via.server_name})
    return answer


def search_users(user: User, word: str) -> set[str]:
    results = user.post("/user_directory/search", {"search_term": word})["results"]
    return {result["user_id"] for result in results}


def localpart(user: User) -> str:
    return user.user_id[1:].partition(":")[0]


def user_info(peer: Peer, token: str) -> Answer:
    """What a service that was given the token learns from the user's server, found by its name."""
    context = ssl.create_default_context(cafile=str(run_authority().certificate))
    path = f"/_matrix/federation/v1/openid/userinfo?access_token={quote(token)}"
    with closing(http.client.HTTPSConnection(peer.server_name, context=context)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        content = response.read()
    return Answer(f"{peer.name}: GET {path}", response.status, content, json.loads(content), {})


class DirectoryOnSqliteWithSynapseTests(OursOnSqliteWithSynapse, DirectoryScenarios):
    pass


class DirectoryOnPostgresWithSynapseTests(OursOnPostgresWithSynapse, DirectoryScenarios):
    pass


class DirectoryBetweenOursTests(TwoOfOurs, DirectoryScenarios):
    pass
