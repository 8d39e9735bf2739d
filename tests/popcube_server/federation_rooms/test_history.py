"""Room history that a server reaches into after it joined."""

from typing import Any
from urllib.parse import quote

from tests.popcube_server.server_case import ONE, TWO, ServerTestCase, TestUser


class HistoryCase(ServerTestCase):
    """Alice's room on `one.example`; Bob's server joins it later."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob", TWO)

    def join(self, user: TestUser, room_id: str) -> None:
        self.ok(self.post(f"/_matrix/client/v3/join/{quote(room_id)}?via={ONE}", {}, user))

    def page(self, user: TestUser, room_id: str, query: str) -> Any:
        path = f"/_matrix/client/v3/rooms/{quote(room_id)}/messages?{query}"
        pending = self.begin("GET", path, None, user)
        return self.ok(self.finish(pending))

    def read_back(self, user: TestUser, room_id: str, limit: int = 20) -> list[Any]:
        """All events that a client finds on its way back, newest first."""
        events: list[Any] = []
        at = None
        for _ in range(100):
            query = f"dir=b&limit={limit}" + ("" if at is None else f"&from={at}")
            page = self.page(user, room_id, query)
            events += page["chunk"]
            at = page.get("end")
            if at is None:
                return events
        raise AssertionError("there is no end to it")

    def read_on(self, user: TestUser, room_id: str, start: str | None = None) -> list[Any]:
        """All events that a client finds on its way forward, oldest first."""
        events: list[Any] = []
        for _ in range(100):
            query = "dir=f&limit=20" + ("" if start is None else f"&from={start}")
            page = self.page(user, room_id, query)
            events += page["chunk"]
            start = page.get("end")
            if start is None:
                return events
        raise AssertionError("there is no end to it")

    def sync(self, user: TestUser, since: str | None = None) -> Any:
        query = "" if since is None else f"?since={since}"
        return self.ok(self.get(f"/_matrix/client/v3/sync{query}", user))

    def deliver(self) -> None:
        """Let what waits be sent."""
        for _ in range(10):
            self.clock.advance(1)
            self.network.flush()

    def asked(self, word: str) -> int:
        return sum(word in uri for _, _, uri in self.network.requests)


def ids(events: list[Any]) -> list[str]:
    return [event["event_id"] for event in events]


def without_unsigned(events: list[Any]) -> list[Any]:
    return [{key: value for key, value in event.items() if key != "unsigned"} for event in events]


class HistoryBeforeTheJoinTests(HistoryCase):
    def test_history_is_paged_to_the_beginning_as_on_the_other_server(self) -> None:
        for version in ("1", "3", "6", "11", "12"):
            room_id = self.given_room(self.alice, room_version=version, name="Old")
            for number in range(130):
                self.given_message(self.alice, room_id, f"message {number}")
                if number % 40 == 0:
                    topic = f"/_matrix/client/v3/rooms/{quote(room_id)}/state/m.room.topic"
                    self.ok(self.put(topic, {"topic": str(number)}, self.alice))
            self.join(self.bob, room_id)
            there, here = self.read_back(self.alice, room_id), self.read_back(self.bob, room_id)
            self.assertEqual(here[-1]["type"], "m.room.create")
            self.assertEqual(without_unsigned(here), without_unsigned(there), version)
            self.assertEqual(ids(self.read_on(self.bob, room_id)), ids(there)[::-1])
