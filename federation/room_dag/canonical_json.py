"""Canonical JSON: the one byte sequence of a JSON value, which is hashed and signed.

Source: appendices, "Canonical JSON". ``orjson`` writes it byte for byte (it sorts keys by their UTF-8 bytes,
which is the order of code points, and escapes no more than it must); what orjson does not refuse is refused
here first.
"""

import json
from typing import Any, Final

import orjson

MAX_INTEGER: Final = 2**53 - 1
MIN_INTEGER: Final = -MAX_INTEGER


class NotCanonical(ValueError):
    """The value has no canonical JSON encoding."""


def encode_canonical(value: Any) -> bytes:
    """The canonical JSON of a value made of dict, list, tuple, str, int, bool and None.

    Raises NotCanonical for floats, NaN, integers beyond 53 bits, keys that are not strings, lone surrogates
    and any other type.
    """
    unsuitable = _find_unsuitable(value)
    if unsuitable is not None:
        raise NotCanonical(unsuitable)
    return _dump(value)


def encode_lenient(value: Any) -> bytes:
    """Like encode_canonical, but integers of any size and finite floats pass.

    Events of room versions 1 to 5 may contain them (appendices, "Canonical JSON", warning box).
    """
    if _find_unsuitable(value) is None:
        return _dump(value)
    return _dump_with_stdlib(value)


def compact(json: bytes) -> bytes:
    """The same bytes in as little memory as they need: whatever orjson writes takes 4 KiB for as long as it is kept."""
    return memoryview(json).tobytes()


def decode_exact(data: bytes | str) -> Any:
    """Parse JSON so that encode_lenient gives the same numbers back.

    orjson turns integers beyond 64 bits into floats, which would change hashes in room versions 1 to 5.
    Raises ValueError.
    """
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def decode_json(data: bytes) -> Any:
    """As decode_exact, and quick: what orjson would change is parsed a second time. Raises ValueError."""
    value = orjson.loads(data)
    # A float may be one, or an integer beyond 64 bits; both are rare.
    return decode_exact(data) if _has_float(value) else value


def check_json_depth(value: Any, limit: int) -> None:
    """Raise NotCanonical if containers are nested more than `limit` deep; a scalar has depth 0."""
    level: list[Any] = [value]
    depth = 0
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, (list, tuple)):
                below.extend(item)
            else:
                continue
            if depth >= limit:
                raise NotCanonical(f"JSON is nested more than {limit} deep")
        level = below
        depth += 1


def _has_float(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        kind = type(item)
        if kind is float:
            return True
        if kind is dict:
            stack.extend(item.values())
        elif kind is list:
            stack.extend(item)
    return False


def _find_unsuitable(value: Any) -> str | None:
    """What is not canonical about a value; types are compared exactly, so that an enum is no string."""
    stack = [value]
    pop = stack.pop
    while stack:
        item = pop()
        kind = type(item)
        if kind is str or kind is bool or item is None:
            continue
        if kind is int:
            # Numbers "must be integers in the range `[-(2**53)+1, (2**53)-1]`".
            if not MIN_INTEGER <= item <= MAX_INTEGER:
                return "an integer is outside of the range of 53 bits"
        elif kind is dict:
            # That keys are strings is checked by orjson.
            stack.extend(item.values())
        elif kind is list or kind is tuple:
            stack.extend(item)
        elif kind is float:
            return "floats are not allowed"
        else:
            return f"{kind.__name__} is not a JSON type"
    return None


def _dump(value: Any) -> bytes:
    try:
        return compact(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
    except TypeError as error:
        # orjson stops at 254 levels, which the specification does not; other servers accept such events.
        if "Recursion limit" in str(error):
            return _dump_with_stdlib(value)
        raise NotCanonical(str(error)) from None


def _dump_with_stdlib(value: Any) -> bytes:
    if not _has_only_string_keys(value):
        raise NotCanonical("a key is not a string")
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
        return text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise NotCanonical(str(error)) from None


def _has_only_string_keys(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if not all(type(key) is str for key in item):
                return False
            stack.extend(item.values())
        elif isinstance(item, (list, tuple)):
            stack.extend(item)
    return True


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
