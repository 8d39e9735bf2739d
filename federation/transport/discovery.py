"""Server discovery: from a server name to the places where the server may be.

Source: server-server API, "Resolving server names".
"""

from collections.abc import Callable, Sequence

from federation.coalescing import Coalescing
from federation.expiring_cache import ExpiringCache
from federation.room_dag.identifiers import InvalidIdentifier, ServerName, parse_server_name
from federation.transport.errors import Unreachable
from federation.transport.names import LookupFailed, NameResolver, ServiceRecord
from federation.transport.route import Route, Target
from federation.transport.tls import is_ip_address
from federation.transport.well_known import WellKnown

DEFAULT_PORT = 8448
SERVICES_CACHE_SIZE = 10_000
MIN_SERVICE_CACHE_S = 60
MAX_SERVICE_CACHE_S = 3600
MAX_TARGETS = 8


class Discovery:
    """Finds servers. `random` gives numbers from 0 up to 1: records of one priority share the load by weight."""

    def __init__(
        self,
        names: NameResolver,
        well_known: WellKnown,
        now_ms: Callable[[], int],
        random: Callable[[], float],
    ) -> None:
        self._names = names
        self._well_known = well_known
        self._now_ms = now_ms
        self._random = random
        self._services: ExpiringCache[str, Sequence[ServiceRecord]] = ExpiringCache(
            SERVICES_CACHE_SIZE, now_ms
        )
        self._lookups: Coalescing[str, Sequence[ServiceRecord]] = Coalescing()

    async def find_route(self, server_name: str) -> Route:
        """Raises `Unreachable` for what is no server name, and for a server that says it takes no requests."""
        try:
            parsed = parse_server_name(server_name)
        except InvalidIdentifier:
            raise Unreachable(server_name[:255], "is not a server name") from None
        # 1. "If the hostname is an IP literal, then that IP address should be used"
        # 2. "If the hostname is not an IP literal, and the server name includes an explicit port, resolve the IP
        #    address using CNAME, AAAA or A records."
        if is_ip_address(parsed.host) or parsed.port is not None:
            return _direct_route(parsed)
        # 3. "If the hostname is not an IP literal, a regular HTTPS request is made to
        #    `https://<hostname>/.well-known/matrix/server`"
        delegated = await self._well_known.find(parsed.host)
        if delegated is not None and (is_ip_address(delegated.host) or delegated.port is not None):
            return _direct_route(delegated)
        # 3.3 to 3.5 for the delegated name, 4 to 6 for the name itself: they are the same.
        return await self._find_by_service(server_name, (delegated or parsed).host)

    async def _find_by_service(self, server_name: str, host: str) -> Route:
        for service in (f"_matrix-fed._tcp.{host}", f"_matrix._tcp.{host}"):
            records = await self._find_services(service)
            if records:
                targets = [
                    Target(record.target, record.port) for record in self._ordered(records) if record.target
                ]
                if not targets:
                    raise Unreachable(server_name, "says in its SRV record that it takes no requests")
                # "with a `Host` header of `<hostname>`. The target server must present a valid certificate for
                # `<hostname>`", not for the name in the record: DNS proves nothing.
                return Route(tuple(targets[:MAX_TARGETS]), host, host)
        return Route((Target(host, DEFAULT_PORT),), host, host)

    async def _find_services(self, name: str) -> Sequence[ServiceRecord]:
        known = self._services.find(name)
        if known is not None:
            return known
        return await self._lookups.run(name, lambda: self._look_up(name))

    async def _look_up(self, name: str) -> Sequence[ServiceRecord]:
        try:
            records = await self._names.find_services(name)
        except LookupFailed:
            # Some resolvers cannot do SRV at all. The next step is harmless, as the certificate has to be right.
            return ()
        ttl_s = min((record.ttl_s for record in records), default=MIN_SERVICE_CACHE_S)
        ttl_s = min(max(ttl_s, MIN_SERVICE_CACHE_S), MAX_SERVICE_CACHE_S)
        self._services.put(name, records, self._now_ms() + ttl_s * 1000)
        return records

    def _ordered(self, records: Sequence[ServiceRecord]) -> list[ServiceRecord]:
        """RFC 2782: lower priorities first; within one, by weighted lot (drawn by Efraimidis and Spirakis)."""
        lots = {id(record): self._random() ** (1 / max(record.weight, 0.01)) for record in records}
        return sorted(records, key=lambda record: (record.priority, -lots[id(record)]))


def _direct_route(name: ServerName) -> Route:
    host = f"[{name.host}]" if ":" in name.host else name.host
    header = host if name.port is None else f"{host}:{name.port}"
    port = DEFAULT_PORT if name.port is None else name.port
    return Route((Target(name.host, port),), header, name.host)
