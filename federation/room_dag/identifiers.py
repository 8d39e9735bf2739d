"""The grammar of identifiers: users, rooms, aliases, events and server names.

Source: appendices, "Identifier Grammar". ``check_*`` raise InvalidIdentifier; ``is_*`` answer. What other
servers or history may contain is checked leniently; what this server makes itself has to pass
``check_new_user_id``.
"""

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final, NamedTuple

MAX_IDENTIFIER_BYTES: Final = 255

_DNS_NAME: Final = re.compile(r"[0-9A-Za-z.\-]{1,255}")
_IPV6_CHARS: Final = re.compile(r"[0-9A-Fa-f:.]{2,45}")
_IPV4_LIKE: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_SERVER_NAME: Final = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{1,5}))?")
# Nearly every server name there is: a DNS name with a letter in it, or four numbers up to 255; a port below 60000.
_USUAL_SERVER_NAME: Final = re.compile(
    r"(?:(?=[0-9.\-]*[A-Za-z])[0-9A-Za-z.\-]+"
    r"|(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]{1,2})(?:\.(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]{1,2})){3})"
    r"(?::(?:[0-9]{1,4}|[0-5][0-9]{4}))?"
)
_NEW_LOCALPART: Final = re.compile(r"[a-z0-9._=\-/+]+")


class InvalidIdentifier(ValueError):
    """A string is not the kind of identifier that it should be."""


class ServerName(NamedTuple):
    """The parts of a server name: `host` without brackets around an IPv6 address, `port` if one is given."""

    host: str
    port: int | None


class Identifier(NamedTuple):
    """The parts of an identifier ``<sigil>localpart:domain``."""

    localpart: str
    domain: str


def parse_server_name(name: str) -> ServerName:
    """Split and check a server name; raises InvalidIdentifier."""
    match = _SERVER_NAME.fullmatch(name)
    if match is None or len(name) > MAX_IDENTIFIER_BYTES:
        raise InvalidIdentifier("not a server name")
    host = match["host"]
    port = None if match["port"] is None else int(match["port"])
    if port is not None and port > 65535:
        raise InvalidIdentifier("the port of a server name is too large")
    if host.startswith("["):
        host = host[1:-1]
        _check_ipv6(host)
    elif _IPV4_LIKE.fullmatch(host) is not None:
        # "IPv4 literals must be a sequence of four decimal numbers in the range 0 to 255"
        if any(int(part) > 255 for part in host.split(".")):
            raise InvalidIdentifier("not an IPv4 address")
    elif _DNS_NAME.fullmatch(host) is None:
        raise InvalidIdentifier("not a server name")
    return ServerName(host, port)


def check_server_name(name: str) -> None:
    """Raise InvalidIdentifier if this is not a server name."""
    # Requests name hundreds of users: one look at the whole name takes a third of the time that its parts do.
    if len(name) > MAX_IDENTIFIER_BYTES or _USUAL_SERVER_NAME.fullmatch(name) is None:
        parse_server_name(name)


def is_server_name(name: str) -> bool:
    """Whether this is a server name."""
    try:
        parse_server_name(name)
    except InvalidIdentifier:
        return False
    return True


def parse_user_id(user_id: str) -> Identifier:
    """Split and check a user ID of any server, historical ones included; raises InvalidIdentifier."""
    # Localparts are "any legal unicode codepoint except for `:` and `NUL`", "and the empty string".
    return _parse("@", "user ID", user_id)


def check_user_id(user_id: str) -> None:
    """Raise InvalidIdentifier if no server could have this user ID."""
    parse_user_id(user_id)


def is_user_id(user_id: str) -> bool:
    """Whether some server could have this user ID."""
    try:
        parse_user_id(user_id)
    except InvalidIdentifier:
        return False
    return True


def check_new_user_id(user_id: str) -> None:
    """Raise InvalidIdentifier if a new user may not have this ID (``a-z 0-9 . _ = - / +``, not empty)."""
    if not is_new_localpart(parse_user_id(user_id).localpart):
        raise InvalidIdentifier("a user name may contain only a-z, 0-9 and . _ = - / +")


def is_new_localpart(localpart: str) -> bool:
    """Whether a new user may have this localpart (not counting the limit of 255 bytes for the whole ID)."""
    return _NEW_LOCALPART.fullmatch(localpart) is not None


def is_compliant_user_id(user_id: str) -> bool:
    """Whether a user ID may be shown to clients outside of events: U+0021 to U+007E, not empty."""
    try:
        localpart = parse_user_id(user_id).localpart
    except InvalidIdentifier:
        return False
    return localpart != "" and all("\x21" <= char <= "\x7e" for char in localpart)


def parse_room_alias(alias: str) -> Identifier:
    """Split and check a room alias; raises InvalidIdentifier."""
    return _parse("#", "room alias", alias)


def check_room_alias(alias: str) -> None:
    """Raise InvalidIdentifier if this is not a room alias."""
    parse_room_alias(alias)


def is_room_alias(alias: str) -> bool:
    """Whether this is a room alias."""
    try:
        parse_room_alias(alias)
    except InvalidIdentifier:
        return False
    return True


def check_room_id(room_id: str) -> None:
    """Raise InvalidIdentifier unless this is ``!opaque:domain`` (up to room version 11) or ``!opaque``."""
    _check_opaque("!", "room ID", room_id)


def is_room_id(room_id: str) -> bool:
    """Whether this is a room ID of any room version."""
    try:
        check_room_id(room_id)
    except InvalidIdentifier:
        return False
    return True


def check_event_id(event_id: str) -> None:
    """Raise InvalidIdentifier unless this is ``$opaque:domain`` (room versions 1 and 2) or ``$opaque``."""
    _check_opaque("$", "event ID", event_id)


def is_event_id(event_id: str) -> bool:
    """Whether this is an event ID of any room version."""
    try:
        check_event_id(event_id)
    except InvalidIdentifier:
        return False
    return True


def domain_of(identifier: str) -> str:
    """The server name in ``<sigil>localpart:domain``; raises InvalidIdentifier if there is none.

    The grammar of the domain is not checked again: identifiers in events were checked when they were parsed.
    """
    _, colon, domain = identifier.partition(":")
    if colon == "" or domain == "":
        raise InvalidIdentifier("the identifier has no domain")
    return domain


def localpart_of(identifier: str) -> str:
    """What stands between sigil and domain; raises InvalidIdentifier if there is no domain."""
    localpart, colon, _ = identifier[1:].partition(":")
    if colon == "":
        raise InvalidIdentifier("the identifier has no domain")
    return localpart


def _parse(sigil: str, kind: str, identifier: str) -> Identifier:
    _check_opaque(sigil, kind, identifier)
    localpart, colon, domain = identifier[1:].partition(":")
    if colon == "":
        raise InvalidIdentifier(f"a {kind} needs a domain")
    check_server_name(domain)
    return Identifier(localpart, domain)


def _check_opaque(sigil: str, kind: str, identifier: str) -> None:
    """What all identifiers share: sigil, length in bytes, Unicode without NUL."""
    if not identifier.startswith(sigil) or len(identifier) < 2:
        raise InvalidIdentifier(f"a {kind} starts with {sigil} and is not empty")
    if "\0" in identifier:
        raise InvalidIdentifier(f"a {kind} may not contain NUL")
    if size_bytes(identifier) > MAX_IDENTIFIER_BYTES:
        raise InvalidIdentifier(f"a {kind} may have at most {MAX_IDENTIFIER_BYTES} bytes")


def size_bytes(text: str) -> int:
    """The length of a string in UTF-8; raises InvalidIdentifier for lone surrogates, which have none."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise InvalidIdentifier("not valid Unicode") from None


def _check_ipv6(address: str) -> None:
    if _IPV6_CHARS.fullmatch(address) is None:
        raise InvalidIdentifier("not an IPv6 address")
    try:
        IPv6Address(address)
    except AddressValueError:
        raise InvalidIdentifier("not an IPv6 address") from None
