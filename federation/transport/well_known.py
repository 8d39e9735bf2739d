"""Where a domain says that its server is: `https://<hostname>/.well-known/matrix/server`.

Source: server-server API, "Resolving server names", step 3.
"""

import logging
import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

import orjson

from federation.coalescing import Coalescing
from federation.expiring_cache import ExpiringCache
from federation.room_dag.identifiers import InvalidIdentifier, ServerName, parse_server_name
from federation.transport.errors import AnswerTooLarge, TransportError
from federation.transport.https import HttpRequest, HttpResponse, Https, ResponseLimits
from federation.transport.https_url import join_url, parse_https_url
from federation.transport.route import Route
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

PATH = "/.well-known/matrix/server"
CACHE_SIZE = 10_000
MAX_REDIRECTS = 5
LIMITS = ResponseLimits(timeout_s=20.0, max_bytes=50 * 1024)
_HOUR_MS = 3600 * 1000
DEFAULT_CACHE_MS = 24 * _HOUR_MS
MAX_CACHE_MS = 48 * _HOUR_MS
# Also what asks not to be cached: a request to a server is not to cost two each time.
MIN_CACHE_MS = 5 * 60 * 1000
FIRST_ERROR_CACHE_MS = 2 * 60 * 1000
MAX_ERROR_CACHE_MS = _HOUR_MS

_MAX_AGE = re.compile(r"(?:^|[,\s])max-age\s*=\s*\"?(\d{1,10})", re.I)
_NOT_CACHED = re.compile(r"(?:^|[,\s])(?:no-store|no-cache)(?:$|[,;\s=])", re.I)
_REDIRECTS = frozenset((301, 302, 303, 307, 308))


class _NoDelegation(Exception):
    """There is no valid answer. `is_final`: the domain answered, so that an older delegation is withdrawn."""

    def __init__(self, reason: str, *, is_final: bool) -> None:
        super().__init__(reason)
        self.is_final = is_final


@dataclass(frozen=True, slots=True)
class _Found:
    """What the last look gave, and how often looking has failed since."""

    delegated: ServerName | None
    valid_until_ms: int
    errors: int


class WellKnown:
    """Asks, and remembers the answers for as long as their headers say, within limits."""

    def __init__(self, https: Https, user_agent: str, now_ms: Callable[[], int]) -> None:
        self._https = https
        self._user_agent = user_agent
        self._now_ms = now_ms
        self._cache: ExpiringCache[str, _Found] = ExpiringCache(CACHE_SIZE, now_ms)
        self._previous: ExpiringCache[str, _Found] = ExpiringCache(CACHE_SIZE, now_ms)
        self._lookups: Coalescing[str, _Found] = Coalescing()

    async def find(self, host: str) -> ServerName | None:
        """The name to which a host delegates; None if it has no valid document, for whatever reason."""
        host = host.lower()
        found = self._cache.find(host)
        if found is None:
            found = await self._lookups.run(host, lambda: self._look(host))
        return found.delegated

    async def _look(self, host: str) -> _Found:
        now_ms = self._now_ms()
        try:
            response = await self._get(host)
            delegated = _parse(response)
        except _NoDelegation as error:
            logger.debug("No delegation of %s: %s", host, error)
            found = self._after_error(host, now_ms, error.is_final)
            lifetime_ms = min(FIRST_ERROR_CACHE_MS << min(found.errors - 1, 16), MAX_ERROR_CACHE_MS)
        else:
            lifetime_ms = _lifetime_ms(response.headers, now_ms)
            found = _Found(delegated, now_ms + MAX_CACHE_MS, 0)
        self._cache.put(host, found, now_ms + lifetime_ms)
        self._previous.put(host, found, now_ms + MAX_CACHE_MS)
        return found

    def _after_error(self, host: str, now_ms: int, is_final: bool) -> _Found:
        previous = self._previous.find(host)
        if previous is None:
            return _Found(None, 0, 1)
        # A domain whose web server is down for a moment has not moved its Matrix server.
        if not is_final and previous.delegated is not None and previous.valid_until_ms > now_ms:
            return _Found(previous.delegated, previous.valid_until_ms, previous.errors + 1)
        return _Found(None, 0, previous.errors + 1)

    async def _get(self, host: str) -> HttpResponse:
        url = f"https://{host}{PATH}"
        seen = set()
        for _ in range(MAX_REDIRECTS + 1):
            # "30x redirects should be followed, however redirection loops should be avoided."
            if url in seen:
                raise _NoDelegation("redirects in a circle", is_final=True)
            seen.add(url)
            response = await self._get_url(url)
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or location is None:
                return response
            url = _redirected(url, location)
        raise _NoDelegation("too many redirects", is_final=True)

    async def _get_url(self, url: str) -> HttpResponse:
        route, uri = _split(url)
        headers = {"User-Agent": self._user_agent, "Accept": "application/json"}
        try:
            return await self._https.request(route, HttpRequest("GET", uri, headers), LIMITS)
        except TransportError as error:
            raise _NoDelegation(str(error), is_final=False) from error
        except AnswerTooLarge as error:
            raise _NoDelegation(str(error), is_final=True) from error


def _redirected(url: str, location: str) -> str:
    try:
        return join_url(url, location)
    except ValueError:
        raise _NoDelegation("redirects to what is no URL", is_final=True) from None


def _split(url: str) -> tuple[Route, str]:
    try:
        return parse_https_url(url)
    except ValueError as error:
        raise _NoDelegation(f"redirects to where nobody goes: {error}", is_final=True) from None


def _parse(response: HttpResponse) -> ServerName:
    # Step 3: "If the response is invalid (bad JSON, missing properties, non-200 response, etc), skip to step 4."
    if response.status != 200:
        raise _NoDelegation(f"status {response.status}", is_final=response.status in (404, 410))
    try:
        document = orjson.loads(response.body)
        name = document.get("m.server") if isinstance(document, dict) else None
        return parse_server_name(name if isinstance(name, str) else "")
    except (orjson.JSONDecodeError, InvalidIdentifier) as error:
        raise _NoDelegation(f"not a valid document: {error}", is_final=True) from None


def _lifetime_ms(headers: Mapping[str, str], now_ms: int) -> int:
    # "Servers should respect the cache control headers present on the response, or use a sensible default when headers
    # are not present. The recommended sensible default is 24 hours. Servers should additionally impose a maximum cache
    # time for responses: 48 hours is recommended."
    wanted_ms = _wanted_lifetime_ms(headers, now_ms)
    return min(max(wanted_ms, MIN_CACHE_MS), MAX_CACHE_MS)


def _wanted_lifetime_ms(headers: Mapping[str, str], now_ms: int) -> int:
    control = headers.get("cache-control", "")
    if _NOT_CACHED.search(control):
        return 0
    max_age = _MAX_AGE.search(control)
    if max_age is not None:
        return int(max_age[1]) * 1000
    expires = headers.get("expires")
    if expires is None:
        return DEFAULT_CACHE_MS
    try:
        return int(parsedate_to_datetime(expires).timestamp() * 1000) - now_ms
    except (ValueError, OverflowError, TypeError):
        # RFC 9111: an invalid date, especially "0", is in the past.
        return 0
