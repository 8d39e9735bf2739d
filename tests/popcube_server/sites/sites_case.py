"""The base of tests with two sites of one organisation, and another server, in the test's own process.

class HistoryTests(SitesTestCase):
    def test_what_is_said_here_is_heard_there(self) -> None:
        alice = self.given_user("alice")           # made through the site `anna`
        room = self.given_room(alice)
        self.given_message(alice, room)
        there = self.at_berta(alice)               # the same token at the site `berta`
        self.cut(); ...; self.heal()
"""

from collections.abc import Collection, Iterable
from dataclasses import replace

from nacl.signing import SigningKey
from twisted.internet.defer import Deferred

from federation.room_dag.signing import EventSigner
from federation.sites.link import LONGEST_PAUSE_S
from federation.sites.site_client import LINK, SiteClient
from federation.transport.body_pipe import StreamedResponse, StreamLimits
from federation.transport.errors import TransportError
from federation.transport.https import HttpRequest, HttpResponse, ResponseLimits
from federation.transport.network import Network
from federation.transport.route import Route
from popcube_server.organisation import Organisation
from popcube_server.rest.front_door.site import Site
from tests.popcube_server.server_case import ONE, TWO, ServerTestCase, TestUser
from tests.support.loop_network import LoopNetwork

ANNA = ONE
"""The host name that clients of the first site use: what tests call by default."""
BERTA = "berta.example"
CARLA = "carla.example"
"""A witness, if the class has it among its `hosts`."""
DORA = "dora.example"
"""A third site, for those who take it in."""
_SITES = {ANNA: "anna", BERTA: "berta", CARLA: "carla", DORA: "dora"}
_LINKS = {f"link-{name}.example": host for host, name in _SITES.items()}

SITES = """
sites:
  name: {own}
  certificate_path: /unused.crt
  private_key_path: /unused.key
  durability: {durability}
  witness: {witness}
  peers:
"""
PEER = """
    - name: {peer}
      url: https://link-{peer}.example:8449
      verify_key: "{key_id} {key}"
      certificate_path: /unused.crt
      witness: {witness}
"""


class WayOut:
    """A site's way to others, which is none once it is dead."""

    def __init__(self, host: str, network: LoopNetwork, dead: Collection[str]) -> None:
        self._host = host
        self._network = network
        self._dead = dead

    async def request(self, route: Route, request: HttpRequest, limits: ResponseLimits) -> HttpResponse:
        self._check()
        return await self._network.request(route, request, limits)

    async def stream(self, route: Route, request: HttpRequest, limits: StreamLimits) -> StreamedResponse:
        self._check()
        return await self._network.stream(route, request, limits)

    async def close(self) -> None:
        return

    def _check(self) -> None:
        if self._host in self._dead:
            raise TransportError("this site is dead")


class SitesTestCase(ServerTestCase):
    """`one.example` on the sites `anna` and `berta`, and `two.example`."""

    hosts: tuple[str, ...] = (ANNA, BERTA, TWO)
    durability = "local"

    def setUp(self) -> None:
        self.dead: set[str] = set()
        super().setUp()
        self.settle()

    def server_name_of(self, host: str) -> str:
        return ONE if host in _SITES else host

    def signer_of(self, host: str) -> EventSigner:
        if host not in _SITES:
            return super().signer_of(host)
        name = _SITES[host]
        return EventSigner(ONE, f"ed25519:{name}", SigningKey(name.encode().ljust(32, b"0")))

    def extra_configuration_of(self, host: str) -> str:
        if host not in _SITES:
            return self.extra_configuration
        section = SITES.format(own=_SITES[host], durability=self.durability, witness=_is_witness(host))
        for peer in self.sites_by(host):
            if peer in _SITES and peer != host:
                signer = self.signer_of(peer)
                section += PEER.format(
                    peer=_SITES[peer],
                    key_id=signer.key_id,
                    key=signer.verify_key_base64,
                    witness=_is_witness(peer),
                )
        return self.extra_configuration + section

    def sites_by(self, host: str) -> Iterable[str]:
        """The hosts of the sites that there are by the configuration of one."""
        return self.hosts

    def open(self, host: str) -> Organisation:
        self.network.give_sites(_LINKS)
        shared = self.network.network
        way = WayOut(host, self.network, self.dead)
        self.network.network = Network(way, self.network, lambda sites, peer: way)
        try:
            return super().open(host)
        finally:
            self.network.network = shared

    def kill(self, host: str) -> None:
        """A site is gone; nobody hears of it, and nothing comes out of it any more. `revive` brings it back."""
        organisation = self.organisations.pop(host)
        self.dead.add(host)
        self.successResultOf(Deferred.fromCoroutine(organisation.stop()))
        organisation.close()

    def revive(self, host: str) -> None:
        self.dead.discard(host)
        self.open(host)
        self.settle()

    def find_site(self, host: str) -> Site | None:
        link = _LINKS.get(host)
        if link is None:
            # Whoever asks for the one server is led to a site that is there.
            is_lost = host == ANNA and ANNA not in self.organisations
            return super().find_site(BERTA if is_lost else host)
        organisation = self.organisations.get(link)
        return None if organisation is None else organisation.link_site

    def at_berta(self, user: TestUser) -> TestUser:
        """The same user, device and token, calling the other site."""
        return replace(user, server_name=BERTA)

    def cut(self) -> None:
        """The sites do not reach each other any more."""
        self.network.down.update(_LINKS)

    def heal(self) -> None:
        """They do again, and have caught up."""
        self.network.down.difference_update(_LINKS)
        self.settle()

    def take_over(self, host: str, signer_host: str | None = None) -> int:
        """Ask a site to take over, on the site itself, with the key of one; the status of the answer."""
        name = "anna" if host == ANNA else "berta"
        url = f"https://link-{name}.example:8449"
        client = SiteClient(name, url, self.signer_of(signer_host or host), self.network)
        down = set(self.network.down)
        self.network.down.clear()
        asking = Deferred.fromCoroutine(client.post(name, LINK + "take_over", {}))
        answered: Deferred[int] = asking.addCallbacks(lambda _: 200, lambda failure: failure.value.status)
        self.network.flush()
        self.network.down.update(down)
        return self.successResultOf(answered)

    def settle(self) -> None:
        """Let the links do what they can."""
        for _ in range(8):
            self.clock.advance(LONGEST_PAUSE_S / 4)
            self.network.flush()


def _is_witness(host: str) -> str:
    return "true" if host == CARLA else "false"
