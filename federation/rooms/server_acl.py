"""Which servers a room lets take part. Source: client-server API, "Server Access Control Lists (ACLs) for rooms"."""

import re
from collections.abc import Mapping
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from federation.room_dag.identifiers import InvalidIdentifier, parse_server_name

ACL_PAIR = ("m.room.server_acl", "")


def is_server_allowed(content: Mapping[str, Any] | None, server_name: str) -> bool:
    """Whether a server may take part, by the content of the room's m.room.server_acl (None: there is none)."""
    # "1. If there is no m.room.server_acl event in the room state, allow."
    if content is None:
        return True
    try:
        # "the server name ... with the port, if any, removed"
        host = parse_server_name(server_name).host
    except InvalidIdentifier:
        return False
    # 2: "... is an IP address (v4 or v6) literal, and allow_ip_literals is present and false, deny."
    if content.get("allow_ip_literals", True) is False and _is_ip_literal(host):
        return False
    # "3. If the server name matches an entry in the deny list, deny."
    if _matches(host, content.get("deny")):
        return False
    # "4. If the server name matches an entry in the allow list, allow." "5. Otherwise, deny."
    return _matches(host, content.get("allow"))


def _is_ip_literal(host: str) -> bool:
    if ":" in host:
        return True
    try:
        IPv4Address(host)
    except AddressValueError:
        return False
    return True


def _matches(host: str, globs: Any) -> bool:
    if not isinstance(globs, list):
        return False
    return any(isinstance(glob, str) and _compile(glob).fullmatch(host) is not None for glob in globs)


def _compile(glob: str) -> re.Pattern[str]:
    # Runs of stars are one star: a long one must not make the match slow.
    pattern = "".join(
        ".*" if piece.startswith("*") else "." if piece == "?" else re.escape(piece)
        for piece in re.findall(r"\*+|\?|[^*?]+", glob)
    )
    # "Server names are matched case-insensitively."
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)
