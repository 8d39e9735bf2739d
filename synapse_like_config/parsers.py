"""From one YAML value to one typed Python value. Each raises WrongValue with a sentence that helps.

A sentence repeats the value only where it cannot be a secret.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from synapse_like_config.errors import WrongValue
from synapse_like_config.values import Plain, Value

T = TypeVar("T")

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhdwy]?)")
_DURATION_UNITS_MS = {
    "": 1,
    "s": 1000,
    "m": 60 * 1000,
    "h": 60 * 60 * 1000,
    "d": 24 * 60 * 60 * 1000,
    "w": 7 * 24 * 60 * 60 * 1000,
    "y": 365 * 24 * 60 * 60 * 1000,
}
_SIZE = re.compile(r"([0-9]+)([KMGT]?)")
_SIZE_UNITS_BYTES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def kind(value: Value) -> str:
    """What a value is, in words, without saying what is in it."""
    if value.mapping() is not None:
        return "a mapping"
    if value.sequence() is not None:
        return "a list"
    if value.data is None:
        return "nothing"
    if isinstance(value.data, bool):
        return "true or false"
    return "a number" if isinstance(value.data, int | float) else "a string"


def shown(value: Value) -> str:
    """A value for an error message: scalars as they were written, others by kind."""
    if value.mapping() is not None or value.sequence() is not None or value.data is None:
        return kind(value)
    return repr(value.text[:60])


def parse_boolean(value: Value) -> bool:
    if not isinstance(value.data, bool):
        raise WrongValue(f"must be true or false, without quotes, not {shown(value)}")
    return value.data


def parse_string(value: Value) -> str:
    # `password: 1234` is meant as a string, and 0123 must not lose its zero: the text as written.
    if isinstance(value.data, bool) or value.data is None or value.sequence() is not None:
        raise WrongValue(f"must be a string, not {kind(value)}")
    if value.mapping() is not None:
        raise WrongValue("must be a string, not a mapping")
    return value.text


def parse_secret(value: Value) -> str:
    text = parse_string(value)
    if not text:
        raise WrongValue("must not be empty")
    return text


def parse_path(value: Value) -> Path:
    text = parse_string(value)
    if not text or "\0" in text:
        raise WrongValue("must be the path of a file or directory")
    return Path(text)


def integer_between(minimum: int | None, maximum: int | None) -> Callable[[Value], int]:
    def parse(value: Value) -> int:
        data = value.data
        # Templates often put numbers into quotes.
        if isinstance(data, str) and re.fullmatch(r"-?[0-9]{1,18}", data):
            data = int(data)
        if isinstance(data, bool) or not isinstance(data, int):
            raise WrongValue(f"must be a whole number, not {shown(value)}")
        check_range(data, minimum, maximum, str)
        return data

    return parse


def number_between(minimum: float | None, maximum: float | None) -> Callable[[Value], float]:
    def parse(value: Value) -> float:
        data = value.data
        if isinstance(data, bool) or not isinstance(data, int | float) or data != data:
            raise WrongValue(f"must be a number, not {shown(value)}")
        check_range(data, minimum, maximum, str)
        return float(data)

    return parse


def duration_ms_between(minimum: int, maximum: int | None) -> Callable[[Value], int]:
    def parse(value: Value) -> int:
        if isinstance(value.data, bool) or not isinstance(value.data, int | str):
            raise WrongValue(f"must be a time, such as 30s, 5m, 24h, 7d or 1w, not {shown(value)}")
        milliseconds = duration_to_ms(str(value.data))
        check_range(milliseconds, minimum, maximum, lambda ms: f"{ms} ms")
        return milliseconds

    return parse


def duration_to_ms(text: str) -> int:
    """Synapse's notation: a bare number is milliseconds, a letter the unit. Raises WrongValue."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise WrongValue(f"must be a time, such as 30s, 5m, 24h, 7d or 1w, not {text[:60]!r}")
    return round(float(match[1]) * _DURATION_UNITS_MS[match[2]])


def size_bytes_between(minimum: int, maximum: int | None) -> Callable[[Value], int]:
    def parse(value: Value) -> int:
        if isinstance(value.data, bool) or not isinstance(value.data, int | str):
            raise WrongValue(f"must be a size, such as 512K, 50M or 2G, not {shown(value)}")
        size = size_to_bytes(str(value.data))
        check_range(size, minimum, maximum, lambda number: f"{number} bytes")
        return size

    return parse


def size_to_bytes(text: str) -> int:
    """Synapse's notation: a bare number is bytes; K, M, G and T are powers of 1024. Raises WrongValue."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise WrongValue(f"must be a size, such as 512K, 50M or 2G, not {text[:60]!r}")
    return int(match[1]) * _SIZE_UNITS_BYTES[match[2]]


def check_range(
    number: float, minimum: float | None, maximum: float | None, write: Callable[[float], str]
) -> None:
    if minimum is not None and number < minimum:
        raise WrongValue(f"must be at least {write(minimum)}, not {write(number)}")
    if maximum is not None and number > maximum:
        raise WrongValue(f"must be at most {write(maximum)}, not {write(number)}")


def one_of(choices: Sequence[str]) -> Callable[[Value], str]:
    def parse(value: Value) -> str:
        # COMPAT: YAML 1.1 reads the word `off` as false; as a choice it is meant as the word.
        text = value.text
        if value.mapping() is not None or value.sequence() is not None or text not in choices:
            listing = ", ".join(choices)
            raise WrongValue(f"must be one of {listing}, not {shown(value)}")
        return text

    return parse


def list_of(parse_item: Callable[[Value], T]) -> Callable[[Value], tuple[T, ...]]:
    def parse(value: Value) -> tuple[T, ...]:
        items = value.sequence()
        if items is None:
            raise WrongValue(f"must be a list, not {kind(value)}")
        return tuple(parse_item(item) for item in items)

    return parse


def list_or_one_of(parse_item: Callable[[Value], T]) -> Callable[[Value], tuple[T, ...]]:
    """COMPAT: where Synapse takes one string for a list of one."""

    def parse(value: Value) -> tuple[T, ...]:
        items = value.sequence()
        return (parse_item(value),) if items is None else tuple(parse_item(item) for item in items)

    return parse


def parse_network(value: Value) -> IPNetwork:
    text = parse_string(value)
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise WrongValue(f"must be an IP address or range, such as 10.0.0.0/8, not {text[:60]!r}") from None


def parse_url(value: Value) -> str:
    text = parse_string(value)
    if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", text):
        raise WrongValue(f"must be a URL that begins with https:// or http://, not {text[:100]!r}")
    return text


def parse_plain_mapping(value: Value) -> dict[str, Plain]:
    mapping = value.mapping()
    if mapping is None:
        raise WrongValue(f"must be a mapping, not {kind(value)}")
    return {key: item.plain() for key, item in mapping.items()}


def parse_boolean_or_none(value: Value) -> bool | None:
    return None if value.data is None else parse_boolean(value)
