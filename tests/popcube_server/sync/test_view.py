"""What clients know after random doings and syncs at random moments is what is so.

Each client keeps a view of its rooms as the specification tells it to: state from `state` and the timeline, or from
`state_after` alone; gaps are filled by paging back. In the end the view of each room must be the room.
"""

import random
from dataclasses import dataclass, field
from typing import Any

from tests.popcube_server.server_case import TestUser
from tests.popcube_server.sync.sync_case import SyncCase

MEMBER = "m.room.member"


@dataclass
class RoomView:
    """A room as a client knows it."""

    state: dict[tuple[str, str], str] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)


@dataclass
class Client:
    user: TestUser
    parameters: dict[str, Any]
    is_lazy: bool
    since: str | None = None
    rooms: dict[str, RoomView] = field(default_factory=dict)

    @property
    def section(self) -> str:
        return "state_after" if "use_state_after" in self.parameters else "state"


class ViewTests(SyncCase):
    def setUp(self) -> None:
        super().setUp()
        self.users = [self.given_user(name) for name in ("alice", "bob", "carol")]
        self.rooms = [self.given_room(self.users[0]), self.given_room(self.users[1])]

    def test_views_are_true_after_random_doings(self) -> None:
        for seed in range(8):
            chance = random.Random(seed)
            clients = [
                Client(user, dict(style), is_lazy)
                for user in self.users
                for style, is_lazy in (
                    ({}, False),
                    ({"use_state_after": "true"}, False),
                    ({}, True),
                    ({"use_state_after": "true"}, True),
                )
            ]
            for _ in range(60):
                self.do_something(chance)
                if chance.random() < 0.02:
                    # Nothing is in memory any more: all that follows is answered from the database.
                    self.restart()
                if chance.random() < 0.3:
                    self.sync_client(chance.choice(clients), chance.choice((1, 2, 5, 20)))
            for client in clients:
                self.sync_client(client, chance.choice((1, 2, 5, 20)))
                self.check(client, seed)

    def do_something(self, chance: random.Random) -> None:
        user, room = chance.choice(self.users), chance.choice(self.rooms)
        what = chance.randrange(8)
        if what < 3:
            self.put(
                f"/_matrix/client/v3/rooms/{room}/send/m.room.message/{chance.getrandbits(60)}",
                {"body": str(chance.random()), "msgtype": "m.text"},
                user,
            )
        elif what == 3:
            self.try_state(user, room, "m.room.topic", "", {"topic": str(chance.random())})
        elif what == 4:
            content = {"membership": "join", "displayname": str(chance.random())}
            self.try_state(user, room, MEMBER, user.user_id, content)
        elif what == 5:
            self.post(f"/_matrix/client/v3/rooms/{room}/leave", {}, user)
        elif what == 6:
            self.post(f"/_matrix/client/v3/rooms/{room}/join", {}, user)
        else:
            other = chance.choice(self.users)
            action = chance.choice(("kick", "ban", "unban", "invite"))
            self.post(f"/_matrix/client/v3/rooms/{room}/{action}", {"user_id": other.user_id}, user)

    def try_state(self, user: TestUser, room: str, event_type: str, key: str, content: Any) -> None:
        self.put(f"/_matrix/client/v3/rooms/{room}/state/{event_type}/{key}", content, user)

    def sync_client(self, client: Client, limit: int) -> None:
        chosen: dict[str, Any] = {"room": {"timeline": {"limit": limit}}}
        if client.is_lazy:
            chosen["room"]["state"] = {"lazy_load_members": True}
        answer = self.sync(client.user, client.since, filter=chosen, **client.parameters)
        rooms = answer.get("rooms", {})
        for room_id, part in rooms.get("join", {}).items():
            self.take_in(client, room_id, part)
        for room_id in rooms.get("leave", {}):
            client.rooms.pop(room_id, None)
        client.since = answer["next_batch"]

    def take_in(self, client: Client, room_id: str, part: Any) -> None:
        known = client.rooms.get(room_id)
        view = client.rooms.setdefault(room_id, RoomView())
        for event in part[client.section]["events"]:
            view.state[event["type"], event["state_key"]] = event["event_id"]
        timeline = part["timeline"]
        if timeline["limited"]:
            until = None if known is None else client.since
            view.events += self.page_back(client.user, room_id, timeline["prev_batch"], until)[::-1]
        for event in timeline["events"]:
            view.events.append(event["event_id"])
            if "state_key" in event and client.section == "state":
                view.state[event["type"], event["state_key"]] = event["event_id"]
            if client.is_lazy and event["type"] != "m.room.create":
                self.assertIn((MEMBER, event["sender"]), view.state, event)

    def page_back(self, user: TestUser, room_id: str, start: str | None, end: str | None) -> list[str]:
        found: list[str] = []
        while True:
            query = "dir=b&limit=7" + (f"&from={start}" if start else "") + (f"&to={end}" if end else "")
            page = self.ok(self.get(f"/_matrix/client/v3/rooms/{room_id}/messages?{query}", user))
            found += [event["event_id"] for event in page["chunk"]]
            start = page.get("end")
            if start is None:
                return found

    def check(self, client: Client, seed: int) -> None:
        joined = self.ok(self.get("/_matrix/client/v3/joined_rooms", client.user))["joined_rooms"]
        self.assertEqual(set(joined), set(client.rooms), (seed, client.user))
        for room_id in joined:
            events = self.ok(self.get(f"/_matrix/client/v3/rooms/{room_id}/state", client.user))
            truth = {(event["type"], event["state_key"]): event["event_id"] for event in events}
            view = client.rooms[room_id]
            if client.is_lazy:
                members = {pair for pair in truth if pair[0] == MEMBER}
                self.assertIn((MEMBER, client.user.user_id), view.state)
                for pair in members - view.state.keys():
                    del truth[pair]
            wrong = {
                pair for pair in view.state.keys() | truth.keys() if view.state.get(pair) != truth.get(pair)
            }
            self.assertEqual(wrong, set(), (seed, client.user.user_id, client.parameters, client.is_lazy))
            everything = self.page_back(client.user, room_id, None, None)[::-1]
            self.assertEqual(len(view.events), len(set(view.events)), (seed, "something came twice"))
            self.assertEqual(view.events, everything, (seed, client.user.user_id))
