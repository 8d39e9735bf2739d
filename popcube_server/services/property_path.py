"""Dot-separated property paths: how push conditions and filters name a property of an event.

Source: appendices, "Dot-separated property paths".
"""

from collections.abc import Mapping
from typing import Any

PropertyPath = tuple[str, ...]


def parse_property_path(text: str) -> PropertyPath:
    r"""The property names of a path: `content.m\.relates_to` is `("content", "m.relates_to")`."""
    names: list[str] = []
    name: list[str] = []
    characters = iter(text)
    for character in characters:
        if character == ".":
            names.append("".join(name))
            name = []
        elif character == "\\":
            escaped = next(characters, "")
            # "Other escape sequences, such as `\x`, are to be left as they are."
            name.append(escaped if escaped in (".", "\\") and escaped else "\\" + escaped)
        else:
            name.append(character)
    names.append("".join(name))
    return tuple(names)


def find_property(value: Any, path: PropertyPath) -> tuple[bool, Any]:
    """Whether the property is there, and its value."""
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return False, None
        value = value[name]
    return True, value
