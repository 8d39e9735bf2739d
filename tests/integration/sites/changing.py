"""Sites that are taken in and out while the others run: as an operator does it, in the configuration files."""

import os
import signal
from pathlib import Path
from typing import Any

import yaml
from nacl.signing import SigningKey

from tests.integration.sites.relay import RoughRelay
from tests.integration.sites.sites import HOST, SitePlan, TwoSites, free_port
from tests.support.configuration import Database
from tests.support.server_process import ServerProcess


class ChangingSites(TwoSites):
    """`anna` and `berta` at first."""

    def plan(self, name: str, database: Database, *, is_witness: bool = False) -> None:
        """A site that nobody was told of yet; its own configuration names those that there are."""
        plan = SitePlan(
            name,
            self.directory / name,
            database,
            self._authority.issue(name, [HOST]),
            SigningKey.generate(),
            free_port(),
            free_port(),
            is_witness,
        )
        self.plans[name] = plan
        self.relays[name] = RoughRelay(HOST, plan.relay_port, plan.port)
        self.relays[name].open()
        self.processes[name] = ServerProcess(self._configure(plan, "local"))

    def write_peers(self, name: str, *sites: str) -> None:
        """Which sites there are, in the file of one of them."""
        path = self._file(name)
        configuration: dict[str, Any] = yaml.safe_load(path.read_text())
        configuration["sites"]["peers"] = [
            {
                "name": peer.name,
                "url": f"https://{HOST}:{peer.relay_port}",
                "verify_key": peer.verify_key,
                "certificate_path": str(peer.identity.certificate),
                "witness": peer.is_witness,
            }
            for peer in (self.plans[site] for site in sites if site != name)
        ]
        path.write_text(yaml.safe_dump(configuration))

    def hang_up(self, name: str) -> None:
        """SIGHUP: the configuration is read again."""
        os.kill(self.processes[name].pid, signal.SIGHUP)

    def _file(self, name: str) -> Path:
        return self.plans[name].directory / "homeserver.yaml"
