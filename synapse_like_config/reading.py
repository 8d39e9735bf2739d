"""Fills the dataclasses of the sections from parsed YAML, and notes which names nobody asked for."""

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

from synapse_like_config.errors import ConfigError, WrongValue
from synapse_like_config.options import METADATA_KEY, NestedSection, Option, SectionList, option_name
from synapse_like_config.parsers import kind
from synapse_like_config.values import Value

T = TypeVar("T")


class Source:
    """The mapping that a section is read from. `names` collects the options that exist for it."""

    def __init__(self, values: Mapping[str, Value], path: str, file: str, line: int) -> None:
        self.values = values
        self.path = path
        self.file = file
        self.line = line
        self.names: set[str] = set()

    def take(self, name: str) -> Value | None:
        self.names.add(name)
        return self.values.get(name)

    def key(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def error(self, name: str, message: str) -> ConfigError:
        value = self.values.get(name.split(".")[0])
        if value is None:
            return ConfigError(self.file, self.line, self.key(name), message)
        return ConfigError(value.file, value.line, self.key(name), message)


class Reader:
    """Reads sections and remembers their sources, to find the names that no section knows."""

    def __init__(self) -> None:
        self._sources: list[Source] = []

    def read(self, section: type[T], source: Source) -> T:
        """Raises ConfigError at the first value that is wrong."""
        self._sources.append(source)
        return self._fill(section, source, None)

    def unknown_names(self) -> list[tuple[str, Value, str | None]]:
        """(full key, value, nearest name that exists) of everything that no section asked for."""
        unknown = []
        for source in self._sources:
            for name, value in source.values.items():
                if name not in source.names:
                    near = difflib.get_close_matches(name, source.names, 1, 0.8)
                    unknown.append((source.key(name), value, near[0] if near else None))
        return unknown

    def _fill(self, section: type[T], source: Source, default: T | None) -> T:
        given = {item.name: self._read_field(item, source, default) for item in fields(section)}  # type: ignore[arg-type]
        result = section(**given)
        check = getattr(result, "check", None)
        if check is not None:
            try:
                check()
            except WrongValue as wrong:
                raise source.error(wrong.key, wrong.message) from None
        return result

    def _read_field(self, item: Field[Any], source: Source, default: object) -> object:
        otherwise = _default(item) if default is None else getattr(default, item.name)
        how = item.metadata.get(METADATA_KEY)
        if how is None:
            # Filled in after reading, from files that the options name.
            return otherwise
        if isinstance(how, Option):
            return self._read_option(option_name(item.name, how.name), how, source, otherwise)
        if isinstance(how, SectionList):
            return self._read_list(option_name(item.name, how.name), how, source, otherwise)
        return self._read_nested(item.name, how, source, otherwise)

    def _read_option(self, name: str, how: Option, source: Source, otherwise: object) -> object:
        value = source.take(name)
        if value is None or (value.data is None and not how.null_means_none):
            if otherwise is MISSING:
                raise source.error(name, "this option is required")
            return otherwise
        if value.data is None:
            return None
        try:
            return how.parse(value)
        except WrongValue as wrong:
            raise ConfigError(value.file, value.line, source.key(name), wrong.message) from None

    def _read_nested(self, name: str, how: NestedSection, source: Source, otherwise: object) -> object:
        if how.inline:
            return self._fill(how.section, source, None)
        value = source.take(name)
        if value is None or value.data is None:
            return otherwise
        inner = self._open(value, source.key(name))
        return self._fill(how.section, inner, None if otherwise is MISSING else otherwise)

    def _read_list(self, name: str, how: SectionList, source: Source, otherwise: object) -> object:
        value = source.take(name)
        if value is None or value.data is None:
            return otherwise
        items = value.sequence()
        key = source.key(name)
        if items is None:
            raise ConfigError(value.file, value.line, key, f"must be a list, not {kind(value)}")
        return tuple(
            self._fill(how.section, self._open(item, f"{key}[{index}]"), None)
            for index, item in enumerate(items)
        )

    def _open(self, value: Value, key: str) -> Source:
        mapping = value.mapping()
        if mapping is None:
            raise ConfigError(value.file, value.line, key, f"must be a mapping, not {kind(value)}")
        source = Source(mapping, key, value.file, value.line)
        self._sources.append(source)
        return source


def _default(item: Field[Any]) -> object:
    if item.default is not MISSING:
        return item.default
    return MISSING if item.default_factory is MISSING else item.default_factory()
