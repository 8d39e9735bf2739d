"""Requests that nobody repeats any more are forgotten."""

from tests.popcube_server.followers.followers_case import FollowersCase
from tests.popcube_server.server_case import ONE, TWO

HOUR_S = 3600.0


class CleanTransactionsTests(FollowersCase):
    def count(self, server_name: str) -> int:
        database = self.organisations[server_name].core.database
        number: int = database.read_now(lambda tx: tx.value("SELECT COUNT(*) FROM transactions"))
        return number

    def test_transactions_are_forgotten_after_three_days(self) -> None:
        for server_name in (ONE, TWO):
            alice = self.given_user("alice", server_name)
            room = self.given_room(alice)
            self.given_message(alice, room)
        for _ in range(71):
            self.clock.advance(HOUR_S)
        self.assertEqual([self.count(ONE), self.count(TWO)], [1, 1])
        for _ in range(2):
            self.clock.advance(HOUR_S)
        self.assertEqual([self.count(ONE), self.count(TWO)], [0, 0])
