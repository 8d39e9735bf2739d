"""An organisation on two sites and a witness, and a Synapse that knows one server."""

import atexit
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from twisted.trial.unittest import SkipTest

from tests.integration.federation.authority import Authority
from tests.integration.federation.pairs import fresh_database
from tests.integration.federation.peers import OURS, Peer, SynapsePeer, User, eventually, free_port
from tests.integration.federation.relay import Relay
from tests.integration.sites.sites import SITES, TwoSites
from tests.integration.sites.watch import Front, Watch
from tests.support.configuration import Database, SqliteFile
from tests.support.server_process import ServerProcess
from tests.support.synapse_process import synapse_python

TERM_S: Final = 2
"""A fifth of what operators have, so that tests need not wait."""


class SitePeer(Peer):
    """One of the sites. Other servers reach it through the front."""

    def __init__(self, name: str, server_name: str) -> None:
        super().__init__(name, "127.0.0.1")
        self.server_name = server_name
        self._process: ServerProcess | None = None

    @property
    def federation_port(self) -> int:
        return self._federation_port

    @property
    def base_url(self) -> str:
        return self._running().base_url

    def overrides(self, authority: Authority) -> Mapping[str, Any]:
        return self._overrides(0, authority, OURS)

    def runs_as(self, process: ServerProcess) -> None:
        """From the next start on."""
        self._process = process

    def start(self) -> None:
        self.starts += 1
        self._running().start()
        eventually(self._is_federation_open, f"{self.name} listens to other servers")

    def stop(self) -> None:
        self._running().terminate()

    def kill9(self) -> None:
        self._running().kill9()

    def log_text(self) -> str:
        return self._running().log_text()

    def _running(self) -> ServerProcess:
        assert self._process is not None
        return self._process


class WatchedSynapse(SynapsePeer):
    """`watch` keeps what it is sent."""

    def __init__(self, name: str, host: str, directory: Path, authority: Authority, python: Path) -> None:
        super().__init__(name, host, SqliteFile(), directory, authority, python)
        port = free_port()
        identity = authority.issue(f"watch-{name}", [host])
        self.watch = Watch(port, self._federation_port, host, identity, authority.certificate)
        self._relay = Relay(host, int(self.server_name.rpartition(":")[2]), port)


class Outside:
    """All of them, running."""

    def __init__(
        self,
        directory: Path,
        python: Path,
        databases: tuple[Database, Database],
        durability: str = "local",
        term_s: int = TERM_S,
    ) -> None:
        authority = Authority(directory / "authority")
        port = free_port()
        self.server_name = f"localhost:{port}"
        self.peers = {name: SitePeer(name, self.server_name) for name in SITES}
        self.front = Front(port, {name: peer.federation_port for name, peer in self.peers.items()})
        self.sites = TwoSites(
            directory / "sites",
            databases,
            durability,
            server_name=self.server_name,
            has_witness=True,
            duties_term=f"{term_s}s",
            overrides={name: peer.overrides(authority) for name, peer in self.peers.items()},
        )
        self.synapse = WatchedSynapse("synapse", "127.0.0.2", directory, authority, python)
        self.authority = authority

    def start(self) -> None:
        self.sites.heal()
        for name, process in self.sites.processes.items():
            if name in self.peers:
                self.peers[name].runs_as(process)
                self.peers[name].start()
            else:
                process.start()
        self.front.open()
        self.synapse.start()

    def kill9(self) -> None:
        self.sites.kill9()
        self.synapse.kill9()

    def rebuild(self, name: str, source: str, database: Database) -> None:
        """A site that was lost."""
        self.sites.rebuild(name, source, database)
        self.peers[name].runs_as(self.sites.processes[name])
        self.peers[name].start()


def at(peer: Peer, user: User) -> User:
    """The same user with the same session at another site."""
    return User(peer, user.user_id, user.token)


def required_synapse() -> Path:
    """Raises SkipTest if it is not installed."""
    python = synapse_python()
    if not python.exists():
        raise SkipTest(f"{python} is missing: `make install-synapse` installs Synapse there.")
    return python


@functools.cache
def outside() -> Outside:
    """`anna` is on PostgreSQL, `berta` on SQLite. They run until the process ends."""
    python = required_synapse()
    made = Outside((Path.cwd() / "sites-outside").resolve(), python, (fresh_database(), SqliteFile()))
    atexit.register(made.kill9)
    made.start()
    return made
