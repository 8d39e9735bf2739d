"""Which servers a room lets take part. Source: client-server API, "Server Access Control Lists (ACLs) for rooms"."""

import re
from collections.abc import Mapping
from typing import Any

from federation.room_dag.identifiers import InvalidIdentifier, parse_server_name

ACL_PAIR = ("m.room.server_acl", "")
_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")


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
    # By the grammar of server names, which lets "010.000.000.001" be an address as well.
    return ":" in host or _IPV4.fullmatch(host) is not None


def _matches(host: str, globs: Any) -> bool:
    if not isinstance(globs, list):
        return False
    # "Server names are matched case-insensitively."
    lowered = host.lower()
    return any(isinstance(glob, str) and _matches_glob(lowered, glob.lower()) for glob in globs)


def _matches_glob(text: str, glob: str) -> bool:
    """In time that no glob can blow up, as it could that of a regular expression: who writes it may be hostile.

    `*` matches anything, so taking each piece between stars at its first place behind the one before is as good as any
    later place.
    """
    if "*" not in glob:
        return len(glob) == len(text) and _is_at(text, glob, 0)
    first, *middle, last = glob.split("*")
    end = len(text) - len(last)
    if end < len(first) or not _is_at(text, first, 0) or not _is_at(text, last, end):
        return False
    at = len(first)
    for piece in filter(None, middle):
        found = _find(text, piece, at, end)
        if found is None:
            return False
        at = found + len(piece)
    return True


def _find(text: str, piece: str, start: int, end: int) -> int | None:
    if "?" not in piece:
        found = text.find(piece, start, end)
        return None if found < 0 else found
    return next((at for at in range(start, end - len(piece) + 1) if _is_at(text, piece, at)), None)


def _is_at(text: str, piece: str, at: int) -> bool:
    if "?" not in piece:
        return text.startswith(piece, at)
    return all(char in ("?", text[at + index]) for index, char in enumerate(piece))
