"""The base of tests that read rooms: every answer is judged by the specification."""

from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred

from storage.account_data import NO_ROOM, SetAccountData
from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase
from tests.popcube_server.server_case import TestUser

V3 = "/_matrix/client/v3"
V1 = "/_matrix/client/v1"


class RoomsTestCase(WitnessedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob")

    def given_private_room(self, user: TestUser, visibility: str | None = None, **options: Any) -> str:
        """A room that is joined by invitation, with this history visibility."""
        initial = []
        if visibility is not None:
            content = {"history_visibility": visibility}
            initial = [{"type": "m.room.history_visibility", "state_key": "", "content": content}]
        return self.given_room(user, **{"preset": "private_chat", "initial_state": initial, **options})

    def given_state(
        self, user: TestUser, room_id: str, event_type: str, content: Any, state_key: str = ""
    ) -> str:
        path = f"{V3}/rooms/{room_id}/state/{event_type}/{quote(state_key, safe='')}"
        event_id: str = self.ok(self.put(path, content, user))["event_id"]
        return event_id

    def given_event(
        self, user: TestUser, room_id: str, content: Any, event_type: str = "m.room.message"
    ) -> str:
        path = f"{V3}/rooms/{room_id}/send/{event_type}/{self._random.getrandbits(60)}"
        event_id: str = self.ok(self.put(path, content, user))["event_id"]
        return event_id

    def given_redacted(self, user: TestUser, room_id: str, event_id: str) -> str:
        path = f"{V3}/rooms/{room_id}/redact/{quote(event_id)}/{self._random.getrandbits(60)}"
        redaction: str = self.ok(self.put(path, {}, user))["event_id"]
        return redaction

    def given_ignored(self, user: TestUser, *ignored: TestUser) -> None:
        content = b'{"ignored_users":{%b}}' % b",".join(b'"%b":{}' % one.user_id.encode() for one in ignored)
        change = SetAccountData(user.user_id, NO_ROOM, "m.ignored_user_list", content)
        committer = self.organisations[user.server_name].core.committer
        self.successResultOf(Deferred.fromCoroutine(committer.commit(change)))

    def act(self, user: TestUser, room_id: str, verb: str, target: TestUser | None = None) -> None:
        """invite, kick, ban, leave, join, forget ..."""
        body = {} if target is None else {"user_id": target.user_id}
        self.ok(self.post(f"{V3}/rooms/{room_id}/{verb}", body, user))

    def room_get(self, user: TestUser, room_id: str, rest: str) -> Any:
        """The body of GET /rooms/{room_id}/..."""
        return self.ok(self.get(f"{V3}/rooms/{room_id}/{rest}", user))

    def sees(self, user: TestUser, room_id: str, event_id: str) -> bool:
        """Whether the user gets the event when they ask for it."""
        status, _ = self.get(f"{V3}/rooms/{room_id}/event/{quote(event_id)}", user)
        self.assertIn(status, (200, 404))
        return status == 200

    def page_all(self, user: TestUser, room_id: str, direction: str, limit: int, rest: str = "") -> list[Any]:
        """Every event that paging to the end gives."""
        events: list[Any] = []
        token = ""
        for _ in range(300):
            query = f"messages?dir={direction}&limit={limit}{rest}{token}"
            page = self.room_get(user, room_id, query)
            self.assertLessEqual(len(page["chunk"]), limit)
            events.extend(page["chunk"])
            if "end" not in page:
                return events
            token = f"&from={page['end']}"
        raise AssertionError("paging does not end")
