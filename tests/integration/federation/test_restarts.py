"""Servers that are killed while others send to them, and while their own users do."""

import http.client
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from tests.integration.federation.listening import Listener
from tests.integration.federation.pairs import (
    OursOnPostgresWithSynapse,
    OursOnSqliteWithSynapse,
    Scenarios,
    TwoOfOurs,
)
from tests.integration.federation.peers import User, eventually, quote

COUNT = 60
KILLS = 2


class RestartScenarios(Scenarios):
    def test_what_the_other_side_sends_to_a_server_that_is_killed_arrives_once(self) -> None:
        alice, bob = self.here.register("alice"), self.there.register("bob")
        room_id = self.given_shared_room(alice, bob)
        listener = Listener(alice)
        with Talking(bob, room_id, "there") as talking:
            for kill in range(1, KILLS + 1):
                talking.wait_for(kill * COUNT // (KILLS + 1))
                self.here.kill9()
                self.here.start()
        alice.send_text(room_id, "alive")
        self.check_texts([alice, bob], room_id, [*talking.texts, "alive"], [listener])

    def test_what_users_of_a_server_that_is_killed_send_arrives_once(self) -> None:
        alice, bob = self.here.register("alice"), self.there.register("bob")
        room_id = self.given_shared_room(alice, bob)
        listeners = [Listener(alice), Listener(bob)]
        with Talking(alice, room_id, "here") as talking:
            for kill in range(1, KILLS + 1):
                talking.wait_for(kill * COUNT // (KILLS + 1))
                self.here.kill9()
                self.here.start()
        self.check_texts([alice, bob], room_id, talking.texts, listeners)

    def test_both_talk_while_a_server_is_stopped_in_the_middle(self) -> None:
        alice, bob = self.here.register("alice"), self.there.register("bob")
        room_id = self.given_shared_room(alice, bob)
        with Talking(alice, room_id, "here") as ours, Talking(bob, room_id, "there") as theirs:
            ours.wait_for(COUNT // 3)
            try:
                self.here.stop()
            finally:
                self.here.start()
        alice.send_text(room_id, "alive")
        self.check_texts([alice, bob], room_id, [*ours.texts, *theirs.texts, "alive"], [])
        self.settle(room_id, alice, bob)

    def check_texts(
        self, users: Sequence[User], room_id: str, texts: Sequence[str], listeners: Sequence[Listener]
    ) -> None:
        """Each once in everybody's history, and told to each listener once."""

        def all_there(user: User) -> Callable[[], bool]:
            def look() -> bool:
                found = said(user, room_id)
                assert sorted(found) == sorted(texts), set(texts) ^ set(found)
                return True

            return look

        for user in users:
            eventually(all_there(user), f"every text once at {user.user_id}", 60)
        for listener in listeners:
            ids = listener.hear().seen(room_id)
            self.assertEqual(len(set(ids)), len(ids), "events were told twice")
            self.wait_until_told(listener, room_id, len(texts))

    def wait_until_told(self, listener: Listener, room_id: str, count: int) -> None:
        eventually(lambda: len(listener.hear().seen(room_id)) >= count, "all was told")


class Talking:
    """A user who sends texts in a thread of its own, each until it is answered."""

    def __init__(self, user: User, room_id: str, prefix: str) -> None:
        self.texts = [f"{prefix} {number}" for number in range(COUNT)]
        self._user = user.another_connection()
        self._room_id = room_id
        self._sent = 0
        self._is_over = False
        self._thread = ThreadPoolExecutor(1)
        self._talking: Future[None]

    def __enter__(self) -> "Talking":
        self._talking = self._thread.submit(self._talk)
        return self

    def __exit__(self, problem: object, *_: object) -> None:
        self._is_over = problem is not None
        self._thread.shutdown()
        if problem is None:
            self._talking.result()

    def wait_for(self, count: int) -> None:
        """Until so many were sent."""
        eventually(lambda: self._sent >= count or self._talking.done(), f"{count} texts are sent", 60)

    def _talk(self) -> None:
        for text in self.texts:
            path = f"/rooms/{quote(self._room_id)}/send/m.room.message/{uuid.uuid4().hex}"
            self._send(path, text)
            self._sent += 1

    def _send(self, path: str, text: str) -> None:
        eventually(lambda: self._try(path, text), f"{text!r} is taken", 60)

    def _try(self, path: str, text: str) -> bool:
        if self._is_over:
            return True
        try:
            self._user.put(path, {"msgtype": "m.text", "body": text})
        except (OSError, http.client.HTTPException):
            # The server is gone: whether it took it, it cannot say.
            return False
        return True


def said(user: User, room_id: str) -> Sequence[str]:
    """Every text, from the newest on."""
    path = f"/rooms/{quote(room_id)}/messages"
    query: dict[str, object] = {"dir": "b", "limit": 100}
    found: list[str] = []
    while True:
        page = user.get(path, query)
        found += [one["content"]["body"] for one in page["chunk"] if one["type"] == "m.room.message"]
        if "end" not in page:
            return found
        query["from"] = page["end"]


class RestartsOnSqliteWithSynapseTests(OursOnSqliteWithSynapse, RestartScenarios):
    pass


class RestartsOnPostgresWithSynapseTests(OursOnPostgresWithSynapse, RestartScenarios):
    pass


class RestartsBetweenOursTests(TwoOfOurs, RestartScenarios):
    pass
