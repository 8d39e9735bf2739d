"""The base of tests in which sites come and go while the others run."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred

from federation.sites.site_client import LINK, SiteClient
from popcube_server.services.sites.reload_sites import Reloaded
from tests.popcube_server.server_case import TestUser
from tests.popcube_server.sites.sites_case import ANNA, SitesTestCase

NAMES = {"one.example": "anna", "berta.example": "berta", "carla.example": "carla", "dora.example": "dora"}


class ChangingSitesCase(SitesTestCase):
    def setUp(self) -> None:
        self.told: dict[str, Iterable[str]] = {}
        self.more: dict[str, str] = {}
        """YAML that somebody has added to the file of a site."""
        self.first: dict[str, str] = {}
        """YAML that stands before the peers."""
        super().setUp()

    def sites_by(self, host: str) -> Iterable[str]:
        return self.told.get(host, self.hosts)

    def extra_configuration_of(self, host: str) -> str:
        text = super().extra_configuration_of(host) + self.more.get(host, "")
        return text.replace("  peers:\n", self.first.get(host, "") + "  peers:\n", 1)

    def tell(self, host: str, *sites: str) -> Reloaded:
        """Write into the configuration of a site that runs which sites there are, and have it read again."""
        self.told[host] = sites
        return self.reload(host)

    def tell_all(self, *sites: str) -> None:
        """The same for all of them; those that are not there yet are started, with nothing."""
        for host in sites:
            if host in self.organisations:
                self.tell(host, *sites)
            else:
                self.told[host] = sites
                self.open(host)
        self.settle()

    def reload(self, host: str) -> Reloaded:
        reloading = Deferred.fromCoroutine(self.organisations[host].reload.reload())
        # What it writes down waits for a peer, where everything does.
        for _ in range(4):
            self.clock.advance(0.25)
            self.network.flush()
        return self.successResultOf(reloading)

    def status(self, host: str) -> Any:
        """What `site status` shows."""
        name = NAMES[host]
        client = SiteClient(name, f"https://link-{name}.example:8449", self.signer_of(host), self.network)
        asking = Deferred.fromCoroutine(client.get(name, LINK + "status"))
        self.network.flush()
        return self.successResultOf(asking)

    def peers(self, host: str) -> list[str]:
        return sorted(peer["name"] for peer in self.status(host)["peers"])

    def metrics(self, host: str) -> str:
        page: bytes = self.ok(self.call("GET", "/metrics", headers={"Host": host}))
        return page.decode()

    def texts(self, user: TestUser, room_id: str) -> list[str]:
        """What a site shows of a room to a user; nothing if it does not know them."""
        path = f"/_matrix/client/v3/rooms/{quote(room_id)}/messages?dir=b&limit=100"
        status, answer = self.get(path, user)
        if status != 200:
            return []
        return sorted(each["content"]["body"] for each in answer["chunk"] if each["type"] == "m.room.message")

    def document(self, host: str = ANNA) -> Any:
        """The keys of the server, as one site tells them."""
        return self.ok(self.call("GET", "/_matrix/key/v2/server", headers={"Host": host}))
