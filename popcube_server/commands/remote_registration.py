"""Create an account through the running server, by its shared-secret endpoint."""

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from typing import Any

from popcube_server.commands.wanted_account import WantedAccount
from popcube_server.services.accounts.shared_secret_registration import (
    SharedSecretRequest,
    shared_secret_mac,
)
from synapse_like_config.config import ServerConfig
from synapse_like_config.listeners import ListenerConfig

PATH = "/_synapse/admin/v1/register"
TIMEOUT_S = 30.0
# Where to reach a listener that takes connections on every address.
_LOOPBACK = {"::": "::1", "0.0.0.0": "127.0.0.1"}  # noqa: S104


class NobodyListens(Exception):
    """No server answers where the configuration says."""


class RegistrationRefused(Exception):
    """The server says no; the text is for the person at the keyboard."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)


def register_remotely(config: ServerConfig, wanted: WantedAccount) -> str:
    """The new user's ID. Raises `NobodyListens` or `RegistrationRefused`."""
    connection = _connect(config)
    try:
        secret = config.registration.registration_shared_secret
        if secret is None:
            raise RegistrationRefused(
                "The server is running: set registration_shared_secret and restart it, or stop it first."
            )
        nonce = _call(connection, config, "GET", None)["nonce"]
        request = SharedSecretRequest(
            nonce, wanted.name, wanted.password, wanted.display_name, wanted.is_admin, None, ""
        )
        body: dict[str, Any] = {
            "nonce": nonce,
            "username": wanted.name,
            "password": wanted.password,
            "admin": wanted.is_admin,
            "mac": shared_secret_mac(secret, request).decode(),
        }
        if wanted.display_name is not None:
            body["displayname"] = wanted.display_name
        return str(_call(connection, config, "POST", body)["user_id"])
    finally:
        connection.close()


def _connect(config: ServerConfig) -> http.client.HTTPConnection:
    for listener in config.listeners:
        if "client" not in listener.resource_names:
            continue
        for connection in _connections(config, listener):
            try:
                connection.connect()
            except (ConnectionError, TimeoutError, FileNotFoundError, socket.gaierror):
                continue
            except OSError as error:
                # An address family that this machine does not have.
                connection.close()
                if isinstance(error, ssl.SSLError):
                    raise RegistrationRefused(f"The server's certificate is not good: {error}") from error
                continue
            return connection
    raise NobodyListens


def _connections(config: ServerConfig, listener: ListenerConfig) -> list[http.client.HTTPConnection]:
    if listener.path is not None:
        return [_UnixConnection(str(listener.path))]
    if not listener.port:
        # Port 0: the system chose one, and only the server knows which.
        return []
    hosts = [_LOOPBACK.get(address, address) for address in listener.addresses]
    if listener.tls:
        context = _own_certificate(config)
        return [
            http.client.HTTPSConnection(host, listener.port, timeout=TIMEOUT_S, context=context)
            for host in hosts
        ]
    return [http.client.HTTPConnection(host, listener.port, timeout=TIMEOUT_S) for host in hosts]


def _own_certificate(config: ServerConfig) -> ssl.SSLContext:
    context = ssl.create_default_context()
    # The certificate names the domain, not the loopback address.
    context.check_hostname = False
    context.load_verify_locations(cafile=config.tls.tls_certificate_path)
    return context


def _call(
    connection: http.client.HTTPConnection, config: ServerConfig, method: str, body: Mapping[str, Any] | None
) -> Any:
    headers = {"Host": config.server.server_name, "Content-Type": "application/json"}
    connection.request(method, PATH, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    data = response.read()
    try:
        answer = json.loads(data)
    except ValueError:
        answer = {}
    if response.status != http.client.OK:
        raise RegistrationRefused(answer.get("error") or f"The server answered {response.status}.")
    return answer
