"""Reading typed values out of JSON objects and queries, with the specification's error for each thing wrong.

All raise `MissingParam`, `BadJson` (wrong type in a body) or `InvalidParam` (wrong value) naming the key.
"""

from collections.abc import Collection, Mapping
from typing import Any

from popcube_server.rest.endpoint import Call
from popcube_server.services.errors import BadJson, InvalidParam, MissingParam

MAX_CANONICAL_INTEGER = 2**53 - 1


def get_string(body: Mapping[str, Any], key: str) -> str:
    value = find_string(body, key)
    if value is None:
        raise MissingParam(f"'{key}' is missing.")
    return value


def find_string(body: Mapping[str, Any], key: str) -> str | None:
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise BadJson(f"'{key}' must be a string.")
    return value


def find_bool(body: Mapping[str, Any], key: str) -> bool | None:
    value = body.get(key)
    if value is not None and not isinstance(value, bool):
        raise BadJson(f"'{key}' must be true or false.")
    return value


def get_bool(body: Mapping[str, Any], key: str, default: bool) -> bool:
    value = find_bool(body, key)
    return default if value is None else value


def find_int(
    body: Mapping[str, Any], key: str, low: int = -MAX_CANONICAL_INTEGER, high: int = MAX_CANONICAL_INTEGER
) -> int | None:
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadJson(f"'{key}' must be an integer.")
    if not low <= value <= high:
        raise InvalidParam(f"'{key}' must be between {low} and {high}.")
    return value


def find_object(body: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    value = body.get(key)
    if value is not None and not isinstance(value, dict):
        raise BadJson(f"'{key}' must be an object.")
    return value


def get_object(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = find_object(body, key)
    if value is None:
        raise MissingParam(f"'{key}' is missing.")
    return value


def find_list(body: Mapping[str, Any], key: str) -> list[Any] | None:
    value = body.get(key)
    if value is not None and not isinstance(value, list):
        raise BadJson(f"'{key}' must be a list.")
    return value


def find_string_list(body: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    values = find_list(body, key)
    if values is None:
        return None
    if not all(isinstance(value, str) for value in values):
        raise BadJson(f"'{key}' must be a list of strings.")
    return tuple(values)


def query_string(call: Call, key: str) -> str:
    value = call.query_one(key)
    if value is None:
        raise MissingParam(f"The query parameter '{key}' is missing.")
    return value


def query_int(call: Call, key: str, default: int, low: int, high: int) -> int:
    """An integer; one above `high` counts as `high`, one below `low` is refused."""
    text = call.query_one(key)
    if text is None:
        return default
    try:
        value = int(text)
    except ValueError:
        raise InvalidParam(f"The query parameter '{key}' must be an integer.") from None
    if value < low:
        raise InvalidParam(f"The query parameter '{key}' must be at least {low}.")
    return min(value, high)


def query_bool(call: Call, key: str, default: bool) -> bool:
    text = call.query_one(key)
    if text is None:
        return default
    if text not in ("true", "false"):
        raise InvalidParam(f"The query parameter '{key}' must be true or false.")
    return text == "true"


def query_choice(call: Call, key: str, choices: Collection[str]) -> str | None:
    text = call.query_one(key)
    if text is not None and text not in choices:
        raise InvalidParam(f"The query parameter '{key}' must be one of: {', '.join(choices)}.")
    return text
