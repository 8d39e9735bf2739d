"""What an operator is shown of the links, by `site status` and `/metrics`."""

from tests.popcube_server.sites.changing_case import ChangingSitesCase
from tests.popcube_server.sites.sites_case import ANNA


class StatusTests(ChangingSitesCase):
    def test_a_cut_is_seen_in_backlog_and_lag_until_it_is_made_up_for(self) -> None:
        alice = self.given_user("alice")
        room_id = self.given_room(alice)
        self.settle()
        [before] = self.status(ANNA)["peers"]
        self.assertEqual((before["name"], before["backlog"], before["lag_ms"]), ("berta", 0, 0))
        self.network.down.add("link-berta.example")
        self.given_message(alice, room_id, "hello")
        self.clock.advance(3)
        [during] = self.status(ANNA)["peers"]
        self.assertGreater(during["backlog"], 0)
        self.assertGreaterEqual(during["lag_ms"], 3_000)
        self.assertGreaterEqual(during["silent_for_ms"], 3_000)
        lag = next(line for line in self.metrics(ANNA).splitlines() if line.startswith("popcube_site_lag"))
        self.assertEqual(lag, f'popcube_site_lag_seconds{{peer="berta"}} {during["lag_ms"] / 1000}')
        self.heal()
        self.settle()
        [after] = self.status(ANNA)["peers"]
        self.assertEqual((after["state"], after["backlog"], after["lag_ms"]), ("idle", 0, 0))
