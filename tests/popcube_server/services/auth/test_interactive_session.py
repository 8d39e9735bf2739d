"""Sessions of user-interactive authentication take a bounded amount of memory."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.auth.interactive_session import (
    LIFETIME_MS,
    MAX_SESSIONS,
    InteractiveSessions,
    Operation,
)


class InteractiveSessionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now_ms = 0
        self.begun = 0
        self.sessions = InteractiveSessions(self.new_id, lambda: self.now_ms)

    def new_id(self) -> str:
        self.begun += 1
        return str(self.begun)

    def begin(self, **parameters: Any) -> str:
        operation = Operation("register", "", "", parameters)
        return self.sessions.begin(operation, (("m.login.dummy",),)).session_id

    def test_the_oldest_goes_when_there_are_too_many(self) -> None:
        for _ in range(MAX_SESSIONS + 5):
            self.begin()
        self.assertEqual(len(self.sessions), MAX_SESSIONS)
        self.assertIsNone(self.sessions.find("5"))
        self.assertIsNotNone(self.sessions.find("6"))

    def test_expired_ones_go_by_themselves(self) -> None:
        self.begin()
        self.now_ms = LIFETIME_MS
        self.begin()
        self.assertEqual(len(self.sessions), 1)

    def test_large_requests_are_not_remembered(self) -> None:
        small = self.sessions.find(self.begin(username="alice"))
        large = self.sessions.find(self.begin(username="x" * 5000))
        assert small is not None
        assert large is not None
        self.assertEqual(small.operation.parameters, {"username": "alice"})
        self.assertEqual(large.operation.parameters, {})
