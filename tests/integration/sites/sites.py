"""Two sites of one organisation as an operator would set them up, on loopback."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nacl.signing import SigningKey
from unpaddedbase64 import encode_base64

from tests.integration.federation.authority import Authority, Identity
from tests.integration.sites.relay import RoughRelay, Weather
from tests.support.configuration import Database, SqliteFile, write_configuration
from tests.support.postgres import CHECKOUT
from tests.support.server_process import ServerProcess

SERVER_NAME = "one.example"
HOST = "127.0.0.1"
COMMAND_DEADLINE_S = 120.0


@dataclass(frozen=True)
class SitePlan:
    """What is known of a site before it starts."""

    name: str
    directory: Path
    database: Database
    identity: Identity
    signing_key: SigningKey
    port: int
    """Where it listens to its peers."""
    relay_port: int
    """Where its peers believe that it listens."""
    is_witness: bool = False

    @property
    def verify_key(self) -> str:
        return f"ed25519:{self.name} {encode_base64(self.signing_key.verify_key.encode())}"


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind((HOST, 0))
        port: int = one.getsockname()[1]
        return port


SITES = ("anna", "berta")
WITNESS = "carla"


class TwoSites:
    """`anna` and `berta`, and `carla` if there is a witness. Each reaches the others through a relay."""

    def __init__(
        self,
        directory: Path,
        databases: tuple[Database, Database],
        durability: str = "local",
        *,
        server_name: str = SERVER_NAME,
        has_witness: bool = False,
        duties_term: str = "10s",
        overrides: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> None:
        """`overrides` are sections of the configuration, by the site's name."""
        self.directory = directory
        self._durability = durability
        self._server_name = server_name
        self._duties_term = duties_term
        self._overrides = overrides
        self._authority = Authority(directory / "certificates")
        given: list[tuple[str, Database]] = list(zip(SITES, databases, strict=True))
        if has_witness:
            given.append((WITNESS, SqliteFile()))
        self.plans = {
            name: SitePlan(
                name,
                directory / name,
                database,
                self._authority.issue(name, [HOST]),
                SigningKey.generate(),
                free_port(),
                free_port(),
                name == WITNESS,
            )
            for name, database in given
        }
        self.relays = {
            plan.name: RoughRelay(HOST, plan.relay_port, plan.port) for plan in self.plans.values()
        }
        self.processes = {
            plan.name: ServerProcess(self._configure(plan, durability)) for plan in self.plans.values()
        }

    def start(self) -> None:
        self.heal()
        for process in self.processes.values():
            process.start()

    def kill9(self) -> None:
        """End everything. No error if it has ended."""
        self.cut()
        for process in self.processes.values():
            process.kill9()

    def cut(self) -> None:
        for relay in self.relays.values():
            relay.cut()

    def cut_link(self) -> None:
        """Between `anna` and `berta`; the witness reaches both."""
        for name in SITES:
            self.relays[name].cut()

    def heal(self) -> None:
        for relay in self.relays.values():
            relay.open()

    def change_weather(self, weather: Weather) -> None:
        """On all links, for what comes from now on."""
        for relay in self.relays.values():
            relay.change(weather)

    def lose(self, name: str) -> None:
        """The site burns: its process, its database and everything beside it are gone."""
        self.processes[name].kill9()
        shutil.rmtree(self.plans[name].directory)

    def rebuild(
        self,
        name: str,
        source: str,
        database: Database,
        overrides: Mapping[str, Any] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        """Set the site up again on an empty database, from another site; not started yet."""
        plan = replace(self.plans[name], database=database)
        self.plans[name] = plan
        self.processes[name] = ServerProcess(self._configure(plan, self._durability, overrides))
        self.command(name, "join", "--from", source, *options)

    def command(self, name: str, verb: str, *arguments: str) -> str:
        """What `popcube-server site VERB` prints. Raises AssertionError if it fails."""
        configuration = self.plans[name].directory / "homeserver.yaml"
        done = subprocess.run(
            [sys.executable, "-m", "popcube_server", "site", verb, "-c", configuration, *arguments],
            capture_output=True,
            text=True,
            timeout=COMMAND_DEADLINE_S,
            cwd=CHECKOUT,
            check=False,
        )
        if done.returncode != 0:
            raise AssertionError(f"site {verb} failed: {done.stderr}\n{done.stdout}")
        return done.stdout

    def url(self, name: str) -> str:
        """Where clients reach a site."""
        return self.processes[name].base_url

    def _configure(self, plan: SitePlan, durability: str, overrides: Mapping[str, Any] | None = None) -> Path:
        plan.directory.mkdir(parents=True)
        seed = encode_base64(plan.signing_key.encode())
        (plan.directory / "signing.key").write_text(f"ed25519 {plan.name} {seed}\n", encoding="ascii")
        peers: list[dict[str, Any]] = [
            {
                "name": peer.name,
                "url": f"https://{HOST}:{peer.relay_port}",
                "verify_key": peer.verify_key,
                "certificate_path": str(peer.identity.certificate),
                "witness": peer.is_witness,
            }
            for peer in self.plans.values()
            if peer is not plan
        ]
        sites = {
            "name": plan.name,
            "bind_addresses": [HOST],
            "port": plan.port,
            "certificate_path": str(plan.identity.certificate),
            "private_key_path": str(plan.identity.private_key),
            "durability": durability,
            "fall_back_after": "3s",
            "witness": plan.is_witness,
            "duties_term": self._duties_term,
            "peers": peers,
        }
        return write_configuration(
            plan.directory,
            plan.database,
            server_name=self._server_name,
            overrides={"sites": sites, **self._overrides.get(plan.name, {}), **(overrides or {})},
        )
