"""How a section declares its options: each of these stands as the default of a dataclass field.

The name of the option is the name of the field without its unit: `session_lifetime_ms` reads `session_lifetime`.
Defaults, ranges and secrecy are said here and nowhere else. A value that is `null` in the file counts as absent,
except for the `optional_` ones, where it means None.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, field
from pathlib import Path
from typing import Any, TypeVar, cast

from synapse_like_config import parsers
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.parsers import IPNetwork
from synapse_like_config.values import Plain, Value

T = TypeVar("T")

_UNITS = ("_ms", "_bytes")


@dataclass(frozen=True, slots=True)
class Option:
    """How the field's value comes out of the file."""

    name: str | None
    parse: Callable[[Value], object]
    null_means_none: bool


@dataclass(frozen=True, slots=True)
class NestedSection:
    """The field is a section of its own: under its name, or (`inline`) among the options of its parent."""

    section: type[Any]
    inline: bool
    optional: bool


@dataclass(frozen=True, slots=True)
class SectionList:
    """The field is a list of sections of one kind."""

    name: str | None
    section: type[Any]
    optional: bool


METADATA_KEY = "synapse_like_config"


def option_name(field_name: str, given: str | None) -> str:
    """The key in the file for a field of a dataclass."""
    if given is not None:
        return given
    for unit in _UNITS:
        field_name = field_name.removesuffix(unit)
    return field_name


def _option(
    default: object,
    parse: Callable[[Value], object],
    *,
    name: str | None = None,
    secret: bool = False,
    null_means_none: bool = False,
) -> Any:
    metadata = {METADATA_KEY: Option(name, parse, null_means_none)}
    return field(default=default, repr=not secret, metadata=metadata)


def required_string() -> str:
    return cast(str, _option(MISSING, parsers.parse_string))


def boolean(default: bool) -> bool:
    return cast(bool, _option(default, parsers.parse_boolean))


def integer(default: int, minimum: int | None = 0, maximum: int | None = None) -> int:
    return cast(int, _option(default, parsers.integer_between(minimum, maximum)))


def optional_integer(minimum: int | None = 0, maximum: int | None = None) -> int | None:
    parse = parsers.integer_between(minimum, maximum)
    return cast("int | None", _option(None, parse, null_means_none=True))


def number(default: float, minimum: float | None = 0, maximum: float | None = None) -> float:
    return cast(float, _option(default, parsers.number_between(minimum, maximum)))


def string(default: str, name: str | None = None) -> str:
    return cast(str, _option(default, parsers.parse_string, name=name))


def optional_string() -> str | None:
    return cast("str | None", _option(None, parsers.parse_string, null_means_none=True))


def optional_secret() -> str | None:
    return cast("str | None", _option(None, parsers.parse_secret, secret=True, null_means_none=True))


def optional_url() -> str | None:
    return cast("str | None", _option(None, parsers.parse_url, null_means_none=True))


def path(default: str) -> Path:
    return cast(Path, _option(Path(default), parsers.parse_path))


def optional_path() -> Path | None:
    return cast("Path | None", _option(None, parsers.parse_path, null_means_none=True))


def choice(default: str, choices: Sequence[str]) -> str:
    return cast(str, _option(default, parsers.one_of(choices)))


def duration_ms(default: str, minimum: int = 0, maximum: int | None = None) -> int:
    parse = parsers.duration_ms_between(minimum, maximum)
    return cast(int, _option(parsers.duration_to_ms(default), parse))


def optional_duration_ms(default: str | None = None, minimum: int = 0) -> int | None:
    parse = parsers.duration_ms_between(minimum, None)
    value = None if default is None else parsers.duration_to_ms(default)
    return cast("int | None", _option(value, parse, null_means_none=True))


def size_bytes(default: str, minimum: int = 0, maximum: int | None = None) -> int:
    parse = parsers.size_bytes_between(minimum, maximum)
    return cast(int, _option(parsers.size_to_bytes(default), parse))


def optional_size_bytes() -> int | None:
    return cast("int | None", _option(None, parsers.size_bytes_between(0, None), null_means_none=True))


def strings(*default: str) -> tuple[str, ...]:
    return cast("tuple[str, ...]", _option(default, parsers.list_of(parsers.parse_string)))


def string_or_strings(*default: str) -> tuple[str, ...]:
    return cast("tuple[str, ...]", _option(default, parsers.list_or_one_of(parsers.parse_string)))


def optional_strings() -> tuple[str, ...] | None:
    parse = parsers.list_of(parsers.parse_string)
    return cast("tuple[str, ...] | None", _option(None, parse, null_means_none=True))


def paths() -> tuple[Path, ...]:
    return cast("tuple[Path, ...]", _option((), parsers.list_of(parsers.parse_path)))


def networks(*default: IPNetwork) -> tuple[IPNetwork, ...]:
    return cast("tuple[IPNetwork, ...]", _option(default, parsers.list_of(parsers.parse_network)))


def plain_mapping(*, secret: bool = False, name: str | None = None) -> Mapping[str, Plain]:
    metadata = {METADATA_KEY: Option(name, parsers.parse_plain_mapping, False)}
    return cast("Mapping[str, Plain]", field(default_factory=dict, repr=not secret, metadata=metadata))


def custom(default: T, parse: Callable[[Value], T], *, name: str | None = None, secret: bool = False) -> T:
    return cast(T, _option(default, parse, name=name, secret=secret))


def nested(default: T) -> T:
    """A section under the field's name. Options that it leaves out are taken from `default`."""
    metadata = {METADATA_KEY: NestedSection(type(default), inline=False, optional=False)}
    return field(default=default, metadata=metadata)


def optional_nested(section: type[T]) -> T | None:
    metadata = {METADATA_KEY: NestedSection(section, inline=False, optional=True)}
    return cast("T | None", field(default=None, metadata=metadata))


def inline(section: type[T]) -> T:
    """A section of ours whose options stand directly in the parent's, as most do at Synapse's top level."""
    metadata = {METADATA_KEY: NestedSection(section, inline=True, optional=False)}
    return field(default_factory=section, metadata=metadata)


def inline_required(section: type[T]) -> T:
    """As `inline`, for a section with a required option: it has no default as a whole."""
    metadata = {METADATA_KEY: NestedSection(section, inline=True, optional=False)}
    return cast(T, field(metadata=metadata))


def sections(section: type[T], *default: T) -> tuple[T, ...]:
    metadata = {METADATA_KEY: SectionList(None, section, optional=False)}
    return field(default=default, metadata=metadata)


def optional_sections(section: type[T]) -> tuple[T, ...] | None:
    metadata = {METADATA_KEY: SectionList(None, section, optional=True)}
    return cast("tuple[T, ...] | None", field(default=None, metadata=metadata))
