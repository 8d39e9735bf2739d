"""The servers that are compared, as processes on ports of their own, from the same configuration file.

Each is called by its address, listens there with TLS for other servers, and believes in the run's own authority.
"""

import socket
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from benchmarks.client import Client
from tests.integration.federation.authority import Authority
from tests.support.configuration import NO_LIMIT, Database, write_configuration
from tests.support.server_process import ServerProcess
from tests.support.synapse_process import SynapseProcess, write_log_configuration

HOST = "127.0.0.1"

# Beyond what tests/support/configuration.py turns off. `rc_presence` stays: it is a part of how presence works.
COMMON: Mapping[str, Any] = {
    "rc_room_creation": NO_LIMIT,
    "rc_media_create": NO_LIMIT,
    "rc_key_requests": NO_LIMIT,
    "rc_reports": NO_LIMIT,
    "rc_user_directory": NO_LIMIT,
    "max_upload_size": "50M",
    "ip_range_blacklist": [],
    "rc_federation": {"window_size": 1000, "sleep_limit": 100_000, "reject_limit": 100_000, "concurrent": 20},
}
# Both hashes take about one millisecond of processor time.
OURS: Mapping[str, Any] = {
    "popcube": {"argon2": {"time_cost": 1, "memory": "2M"}, "log": {"level": "WARNING"}}
}
# The checkout is compiled when it is first started, as `pip` compiles what it installs, Synapse among it.
ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": ""}
SYNAPSE: Mapping[str, Any] = {"bcrypt_rounds": 4, "report_stats": False, "federation_ip_range_blacklist": []}


class Process(Protocol):
    """A server that can be started again on the same data."""

    @property
    def pid(self) -> int: ...

    @property
    def port(self) -> int:
        """Where clients are served."""

    @property
    def server_name(self) -> str: ...

    def start(self) -> None:
        """Returns when it has answered."""

    def terminate(self) -> None:
        """Ask it to stop, and wait until it has."""

    def kill9(self) -> None:
        """End it at once. No error if it has ended."""


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _configuration(
    directory: Path,
    database: Database,
    port: int,
    server_name: str,
    authority: Authority,
    own: Mapping[str, Any],
) -> Path:
    host, _, federation_port = server_name.rpartition(":")
    identity = authority.issue(federation_port, [host])
    overrides = {
        **COMMON,
        **own,
        "listeners": [
            _listener(port, "client", tls=False),
            _listener(int(federation_port), "federation", tls=True),
        ],
        "tls_certificate_path": str(identity.certificate),
        "tls_private_key_path": str(identity.private_key),
        "federation_custom_ca_list": [str(authority.certificate)],
    }
    return write_configuration(directory, database, server_name=server_name, overrides=overrides)


def _listener(port: int, resource: str, *, tls: bool) -> Mapping[str, Any]:
    resources = [{"names": [resource]}]
    return {"port": port, "type": "http", "tls": tls, "bind_addresses": [HOST], "resources": resources}


def _ask_versions(port: int) -> None:
    with closing(Client(port)) as client:
        client.call("GET", "/_matrix/client/versions")


class OurServer:
    """`popcube_server serve` of this checkout."""

    def __init__(self, directory: Path, database: Database, authority: Authority) -> None:
        self.port = free_port()
        self.server_name = f"{HOST}:{free_port()}"
        self._process = ServerProcess(
            _configuration(directory, database, self.port, self.server_name, authority, OURS), ENVIRONMENT
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        self._process.start()
        _ask_versions(self.port)

    def terminate(self) -> None:
        self._process.terminate()

    def kill9(self) -> None:
        self._process.kill9()


class SynapseServer:
    """The main process of Synapse, installed in an environment of its own."""

    def __init__(self, python: Path, directory: Path, database: Database, authority: Authority) -> None:
        directory.mkdir(parents=True)
        self.port = free_port()
        self.server_name = f"{HOST}:{free_port()}"
        own = {
            **SYNAPSE,
            "log_config": str(write_log_configuration(directory, "WARNING")),
            "pid_file": str(directory / "homeserver.pid"),
        }
        configuration = _configuration(directory, database, self.port, self.server_name, authority, own)
        self._process = SynapseProcess(python, configuration, self.port)

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        self._process.start()

    def terminate(self) -> None:
        self._process.terminate()

    def kill9(self) -> None:
        self._process.kill9()
