"""The base of tests with two sites of one organisation, and another server, in the test's own process.

class HistoryTests(SitesTestCase):
    def test_what_is_said_here_is_heard_there(self) -> None:
        alice = self.given_user("alice")           # made through the site `anna`
        room = self.given_room(alice)
        self.given_message(alice, room)
        there = self.at_berta(alice)               # the same token at the site `berta`
        self.cut(); ...; self.heal()
"""

from dataclasses import replace

from nacl.signing import SigningKey

from federation.room_dag.signing import EventSigner
from federation.sites.link import LONGEST_PAUSE_S
from popcube_server.organisation import Organisation
from popcube_server.rest.resource import Site
from tests.popcube_server.server_case import ONE, TWO, ServerTestCase, TestUser

ANNA = ONE
"""The host name that clients of the first site use: what tests call by default."""
BERTA = "berta.example"
_SITES = {ANNA: "anna", BERTA: "berta"}
_LINKS = {"link-anna.example": ANNA, "link-berta.example": BERTA}

SITES = """
sites:
  name: {own}
  certificate_path: /unused.crt
  private_key_path: /unused.key
  durability: {durability}
  peers:
    - name: {peer}
      url: https://link-{peer}.example:8449
      verify_key: "{key_id} {key}"
      certificate_path: /unused.crt
"""


class SitesTestCase(ServerTestCase):
    """`one.example` on the sites `anna` and `berta`, and `two.example`."""

    hosts = (ANNA, BERTA, TWO)
    durability = "local"

    def setUp(self) -> None:
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
        peer = BERTA if host == ANNA else ANNA
        signer = self.signer_of(peer)
        section = SITES.format(
            own=_SITES[host],
            peer=_SITES[peer],
            durability=self.durability,
            key_id=signer.key_id,
            key=signer.verify_key_base64,
        )
        return self.extra_configuration + section

    def open(self, host: str) -> Organisation:
        if not self.network.network.sites:
            self.network.give_sites(_SITES.values(), _LINKS)
        return super().open(host)

    def find_site(self, host: str) -> Site | None:
        link = _LINKS.get(host)
        if link is None:
            return super().find_site(host)
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

    def settle(self) -> None:
        """Let the links do what they can."""
        for _ in range(8):
            self.clock.advance(LONGEST_PAUSE_S / 4)
            self.network.flush()
