"""What keeps strangers from asking too much does not hold up the sites of one organization."""

from tests.popcube_server.server_case import NO_LIMITS
from tests.popcube_server.sites.sites_case import SitesTestCase

LEAST = (
    "rc_federation: {window_size: 1000, sleep_limit: 1, sleep_delay: 60000, reject_limit: 1, concurrent: 1}"
)


class LinkLimitsTests(SitesTestCase):
    limits = "\n".join(
        LEAST if line.startswith("rc_federation:") else line for line in NO_LIMITS.splitlines()
    )

    def test_a_link_does_not_wait_for_the_turns_of_strangers(self) -> None:
        alice = self.given_user("alice")
        room_id = self.given_room(alice)
        sent = [self.given_message(alice, room_id, str(number)) for number in range(10)]
        self.network.flush()
        events = {f"/_matrix/client/v3/rooms/{room_id}/event/{event_id}" for event_id in sent}
        for path in events:
            self.ok(self.get(path, self.at_berta(alice)))
