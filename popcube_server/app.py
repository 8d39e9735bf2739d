"""The process: the reactor, its threads, the listeners, and the organisations behind them."""

import gc
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor as _installed_reactor
from twisted.internet import ssl
from twisted.internet.address import IPv6Address
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from federation.room_dag.signing import EventSigner, generate_key
from federation.sites.peers_tls import PeersTls
from federation.transport.network import Network, make_network
from popcube_server.connections import Connections, WatchedFactory
from popcube_server.ending import Ending
from popcube_server.logs import start_logging
from popcube_server.organisation import Organisation, Threads, build_core, build_organisation
from popcube_server.pid_file import remove_pid_file, write_pid_file
from popcube_server.prompt_port import listen_promptly
from popcube_server.request_context import RequestIds
from popcube_server.rest.front_door.door import FrontDoor, JsonLimits
from popcube_server.rest.front_door.limited_request import MAX_SIGNED_BYTES, limited_request
from popcube_server.rest.front_door.root import RootResource
from popcube_server.services.platform import Platform
from popcube_server.services.sites.reload_sites import NotReloaded
from popcube_server.version import VERSION
from popcube_server.web_site import QuietSite
from popcube_server.work_threads import WorkThreads
from storage.database import ThreadRunner
from storage.engines.choose import choose_engine
from storage.engines.engine import WORK_THREADS, StorageError
from storage.migrate import SchemaTooNew
from synapse_like_config.config import ServerConfig
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.listeners import ListenerConfig
from synapse_like_config.sites import SitesConfig

logger = logging.getLogger(__name__)

GARBAGE_THRESHOLDS = (10_000, 10, 50)
"""How much is made before it is looked for garbage. Requests leave hardly any behind that is not freed by itself, while
looking through all that is in memory keeps every request waiting for so long."""
IDLE_CONNECTION_S = 60.0
CLOSE_S = 5.0
"""How long the end may take for those who are to have nothing to do any more."""
MAX_LINK_BYTES = 128 * 1024 * 1024
"""Of one request of another site: a batch of its log."""

_RESOURCE_PATHS: Mapping[str, tuple[str, ...]] = {
    "client": ("/_matrix/client/", "/_synapse/", "/.well-known/", "/_matrix/static/"),
    "media": ("/_matrix/media/", "/_matrix/client/v1/media/", "/_matrix/federation/v1/media/"),
    "federation": ("/_matrix/federation/", "/.well-known/matrix/server"),
    "keys": ("/_matrix/key/",),
    "openid": ("/_matrix/federation/v1/openid/",),
    "metrics": ("/metrics", "/_synapse/metrics"),
    "static": ("/_matrix/static/", "/static/"),
    "health": ("/health", "/ping"),
}

Listen = Callable[[WatchedFactory], Any]
"""Opens a port. Raises `CannotListenError`. Twisted's endpoints would do the same and take a megabyte."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a listener is to be."""

    scheme: str
    address: str
    port: int | None


class Server:
    """One process serving one configuration."""

    def __init__(self, config: ServerConfig, load: Callable[[], ServerConfig], reactor: Any) -> None:
        """`load` reads the configuration again, for a reload. Raises `ConfigError` or OSError."""
        self._config = config
        self._load = load
        self._reactor = reactor
        self._threads: list[WorkThreads] = []
        self._ports: list[Any] = []
        self._roots: list[RootResource] = []
        self._request_ids = RequestIds(secrets.token_hex(3))
        self._connections = Connections()
        self._organisation: Organisation | None = None
        self._network: Network | None = None

    def open(self) -> None:
        """Open the data. Raises `StorageError` or `SchemaTooNew`."""
        engine = choose_engine(self._config.database)
        work = self._runner("work", WORK_THREADS)
        platform = Platform(self._reactor, secrets.token_bytes, work, steady_s)
        threads = Threads(self._runner("read", engine.readers), self._runner("write", 1))
        core = build_core(
            self._config,
            make_signer(self._config),
            engine,
            platform,
            threads,
            lambda number: logger.info("Schema change %04d applied", number),
        )
        self._network = self._make_network()
        try:
            self._organisation = build_organisation(core, self._network, self._load)
        except (OSError, ValueError, SSL.Error) as error:
            raise SystemExit(f"sites: {error}") from error
        # From now on the database is read on threads, each of which has a connection of its own.
        core.database.leave()

    def _make_network(self) -> Network:
        try:
            return make_network(self._reactor, self._config.federation)
        except (OSError, ValueError, SSL.Error) as error:
            raise SystemExit(f"federation_custom_ca_list: {error}") from error

    async def start(self) -> None:
        """Listen, and say where."""
        assert self._organisation is not None
        self._organisation.start()
        self._write_pid_file()
        for listener in self._config.listeners:
            for address in listener.addresses if listener.path is None else ("",):
                await self._listen(listener, address)
        if self._config.sites is not None:
            for address in self._config.sites.addresses:
                await self._listen_to_sites(self._config.sites, address)
        if self._config.sites is not None and self._config.sites.witness:
            print("This is a witness: it votes on duties, and has no users.")
        elif self._config.registration.enable_registration:
            print("Anybody may register. Point a Matrix client at the address above and create an account.")
        else:
            print("Create an account with: popcube-server register-user -c FILE -u NAME -p PASSWORD")
        sys.stdout.flush()

    def _write_pid_file(self) -> None:
        path = self._config.server.pid_file
        if path is None:
            return
        try:
            write_pid_file(path)
        except OSError as error:
            raise SystemExit(f"Cannot write pid_file {path}: {error}") from error

    async def _listen(self, listener: ListenerConfig, address: str) -> None:
        organisation = self._organisation
        assert organisation is not None
        names = listener.resource_names
        proxies, limits = self._config.popcube.trusted_proxies, self._config.popcube.limits
        max_signed_bytes = max(MAX_SIGNED_BYTES, limits.max_body_size_bytes)
        door = FrontDoor(
            find_site=lambda host: organisation.site,
            x_forwarded=listener.believes_x_forwarded_for,
            is_trusted_proxy=lambda peer: any(peer in network for network in proxies),
            is_served=lambda path: is_served(names, path),
            json_limits=JsonLimits(limits.max_body_size_bytes, limits.max_json_depth, max_signed_bytes),
            timer_s=time.perf_counter,
            new_request_id=self._request_ids.new,
            request_id_header=listener.request_id_header,
        )
        largest = max(self._config.media.max_upload_size_bytes, limits.max_body_size_bytes)
        listen, scheme = self._choose_listen(listener, address)
        where = Place(scheme, address, listener.port)
        port = self._open_port(listen, door, largest, where)
        if port is not None:
            print(f"Listening on {_shown(scheme, address, port)} ({', '.join(sorted(names))})")

    async def _listen_to_sites(self, sites: SitesConfig, address: str) -> None:
        """For the other sites of the organisation, and nobody else: they show certificates that are known."""
        organisation = self._organisation
        assert organisation is not None and sites.certificate_path and sites.private_key_path
        door = FrontDoor(
            find_site=lambda host: organisation.link_site,
            x_forwarded=False,
            is_trusted_proxy=lambda peer: False,
            is_served=lambda path: True,
            json_limits=JsonLimits(
                MAX_LINK_BYTES, self._config.popcube.limits.max_json_depth, MAX_LINK_BYTES
            ),
            timer_s=time.perf_counter,
            new_request_id=self._request_ids.new,
        )
        assert organisation.site_peers is not None
        try:
            factory = PeersTls(organisation.site_peers)
        except (OSError, ValueError, SSL.Error) as error:
            raise SystemExit(f"sites: a certificate cannot be used: {error}") from error
        where = Place("https", address, sites.port)
        port = self._open_port(
            self._listen_with_tls(sites.port, factory, address), door, MAX_LINK_BYTES, where
        )
        if port is not None:
            print(f"Listening on {_shown('https', address, port)} (other sites)")

    def _open_port(self, listen: Listen, door: FrontDoor, largest: int, where: "Place") -> Any:
        """None if a wildcard that was opened before takes this address, too."""
        root = RootResource(door)
        self._roots.append(root)
        make_request = limited_request(largest + 1024, door.json_limits.max_signed_bytes, self._connections)
        site = QuietSite(root, make_request, self._reactor, IDLE_CONNECTION_S)
        try:
            port = listen(WatchedFactory(site, self._connections))
        except CannotListenError as error:
            # An IPv4 wildcard beside an IPv6 one that takes both is no fault.
            if where.address == "0.0.0.0" and self._takes_every_address(where.port):  # noqa: S104
                return None
            raise SystemExit(f"Cannot listen on {where.address} port {where.port}: {error}") from error
        self._ports.append(port)
        return port

    def _takes_every_address(self, number: int | None) -> bool:
        hosts = (port.getHost() for port in self._ports)
        return any(
            isinstance(host, IPv6Address) and (host.host, host.port) == ("::", number) for host in hosts
        )

    def _choose_listen(self, listener: ListenerConfig, address: str) -> tuple[Listen, str]:
        """How it listens, and the scheme of its URLs."""
        path = listener.path
        if path is not None:
            # With a lock beside it, so that what a killed server left behind is not in the way.
            return lambda factory: self._reactor.listenUNIX(
                str(path), factory, mode=listener.mode, wantPID=True
            ), "unix"
        number = listener.port
        assert number is not None
        if listener.tls:
            context = ssl.DefaultOpenSSLContextFactory(
                str(self._config.tls.tls_private_key_path), str(self._config.tls.tls_certificate_path)
            )
            return self._listen_with_tls(number, context, address), "https"
        return lambda factory: listen_promptly(self._reactor, number, factory, address), "http"

    def _listen_with_tls(self, port: int, context: Any, address: str) -> Listen:
        return lambda factory: self._reactor.listenSSL(port, factory, context, interface=address)

    def _runner(self, name: str, limit: int) -> ThreadRunner:
        threads = WorkThreads(self._reactor, name, limit)
        self._threads.append(threads)
        return threads.run

    async def stop(self) -> None:
        """Take no new connections, finish what is under way, close the data. What hangs does not hold this up."""
        await DeferredList([Deferred.fromCoroutine(_stop_listening(port)) for port in self._ports])
        if self._organisation is not None:
            self._organisation.release_waiting()
            grace_s = self._config.popcube.shutdown_grace_ms / 1000
            try:
                await Deferred.fromCoroutine(self._finish_requests()).addTimeout(grace_s, self._reactor)
            except TookTooLong:
                logger.warning("Some requests took longer than popcube.shutdown_grace and were cut off")
            await self._organisation.stop()
        await self._close()
        if self._config.server.pid_file is not None:
            remove_pid_file(self._config.server.pid_file)

    async def _close(self) -> None:
        """What nothing is at work on any more."""
        ending = Ending(self._reactor, CLOSE_S)
        if self._network is not None:
            await ending.end("Connections to other servers", self._network.https.close())
        stopping = [
            Deferred.fromCoroutine(ending.end(f"A thread for {threads.name} work", threads.stop()))
            for threads in self._threads
        ]
        ended = await gatherResults(stopping)
        # A connection that a thread still uses is closed by the end of the process: nothing else can.
        if self._organisation is not None and all(ended):
            self._organisation.close()

    async def reload(self) -> None:
        """Take from the configuration what can change while the server runs; the log tells."""
        assert self._organisation is not None
        try:
            await self._organisation.reload.reload()
        except NotReloaded as error:
            logger.error("%s", error)

    async def _finish_requests(self) -> None:
        await self._connections.close()
        for root in self._roots:
            await root.finish()


async def _stop_listening(port: Any) -> None:
    stopping = port.stopListening()
    if stopping is not None:
        await stopping


def steady_s() -> float:
    """Seconds since the machine started, while it slept too."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def process_reactor() -> Any:
    """The process's own, for commands that need the network for a moment."""
    return _installed_reactor


def make_signer(config: ServerConfig) -> EventSigner:
    """The first signing key signs."""
    key = config.keys.signing_keys[0]
    entry = generate_key(key.version, key.seed)
    return EventSigner(config.server.server_name, entry.key_id, entry.signing_key)


def is_served(names: frozenset[str], path: str) -> bool:
    """Whether a listener with these resources answers for a path. The most specific resource decides."""
    best, length = "client", 0
    for name, prefixes in _RESOURCE_PATHS.items():
        for prefix in prefixes:
            if path.startswith(prefix) and len(prefix) > length:
                best, length = name, len(prefix)
    return best in names


def _shown(scheme: str, address: str, port: Any) -> str:
    where = port.getHost()
    if scheme == "unix":
        return f"unix:{where.name.decode() if isinstance(where.name, bytes) else where.name}"
    host = f"[{address}]" if ":" in address else address
    return f"{scheme}://{host}:{where.port}"


def run(config: ServerConfig, load: Callable[[], ServerConfig]) -> int:
    """Serve until SIGTERM or SIGINT; the process's exit status. `load` reads the configuration again, on SIGHUP."""
    reactor: Any = _installed_reactor
    start_logging(config.popcube.log)
    server = Server(config, load, reactor)
    try:
        server.open()
    except (StorageError, SchemaTooNew) as error:
        print(f"The database cannot be opened: {error}", file=sys.stderr)
        return 1
    print(f"PopCube server {VERSION} for {config.server.server_name}")
    # The objects of the organisation live as long as the process does, as its modules do (cli.py): what garbage there
    # is goes once, and later collections do not look through the rest again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    status = [0]

    def failed(failure: Failure) -> None:
        status[0] = 1
        print(f"The server cannot start: {failure.getErrorMessage()}", file=sys.stderr)
        reactor.callWhenRunning(reactor.stop)

    def begin() -> None:
        # Only now: when it begins to run, the reactor takes the signals for itself.
        signal.signal(signal.SIGTERM, hang_up)
        signal.signal(signal.SIGINT, hang_up)
        Deferred.fromCoroutine(server.start()).addCallbacks(listen_to_hang_ups, failed)

    def listen_to_hang_ups(_: None) -> None:
        signal.signal(signal.SIGHUP, lambda signum, frame: reactor.callFromThread(reload))

    def reload() -> None:
        Deferred.fromCoroutine(server.reload()).addErrback(
            lambda failure: logger.error("The configuration was not reloaded: %s", failure)
        )

    is_stopping = [False]

    def hang_up(signum: int, frame: object) -> None:
        if is_stopping[0]:
            # Asked twice: somebody does not want to wait for the requests under way.
            os._exit(1)
        is_stopping[0] = True
        reactor.callFromThread(reactor.stop)

    reactor.callWhenRunning(begin)
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(server.stop()))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, hang_up)
    reactor.run()
    return status[0]
