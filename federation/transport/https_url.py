"""A URL that somebody else wrote, read so that it can be followed: https, and nothing odd in it."""

from urllib.parse import urljoin, urlsplit

from federation.room_dag.identifiers import parse_server_name
from federation.transport.route import Route, Target

MAX_URL_CHARS = 2048


def parse_https_url(url: str) -> tuple[Route, str]:
    """Where it leads, and the path with the query. Raises ValueError with the reason not to go there."""
    if (
        len(url) > MAX_URL_CHARS
        or not url.isascii()
        or any(character <= " " or character == "\x7f" for character in url)
    ):
        raise ValueError("that is no URL")
    parts = urlsplit(url)
    port = parts.port or 443
    host = parts.hostname
    if parts.scheme != "https" or host is None or parts.username is not None:
        raise ValueError("only https is followed")
    parse_server_name(f"[{host}]" if ":" in host else host)
    header = f"[{host}]" if ":" in host else host
    if port != 443:
        header = f"{header}:{port}"
    uri = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Route((Target(host, port),), header, host), uri


def join_url(url: str, location: str) -> str:
    """The URL that a redirect in an answer from `url` means. Raises ValueError if it is none."""
    return urljoin(url, location)
