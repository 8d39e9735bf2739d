"""YAML with the place of every value kept, so that a complaint can name the line.

Scalars follow YAML 1.1, as in Synapse: `yes`, `on` and `true` are the same.
"""

from collections.abc import Callable, Mapping

import yaml

from synapse_like_config.errors import ConfigError
from synapse_like_config.lazy_dataclasses import dataclass

# The parser in C is about ten times as fast; a PyYAML built without it still works.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Plain = str | int | float | bool | None | list["Plain"] | dict[str, "Plain"]


@dataclass(frozen=True, slots=True)
class Value:
    """One node. `data` is a scalar, a tuple of values or a mapping of values; `text` a scalar as it was written."""

    data: object
    text: str
    file: str
    line: int

    def mapping(self) -> Mapping[str, "Value"] | None:
        return self.data if isinstance(self.data, dict) else None

    def sequence(self) -> tuple["Value", ...] | None:
        return self.data if isinstance(self.data, tuple) else None

    def plain(self) -> Plain:
        """The value without places: what JSON could hold. Dates stay as they were written."""
        if isinstance(self.data, dict):
            return {key: value.plain() for key, value in self.data.items()}
        if isinstance(self.data, tuple):
            return [value.plain() for value in self.data]
        if self.data is None or isinstance(self.data, str | int | float | bool):
            return self.data
        return self.text


def parse_yaml(text: str, file: str, warn: Callable[[str], None]) -> Mapping[str, Value]:
    """The top level mapping of a file. An empty file is an empty mapping. Raises ConfigError."""
    try:
        loader = _LOADER(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return {}
            value = _Converter(loader, file, warn).convert(root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise ConfigError(file, line, "", f"this is not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(file, 0, "", f"this is not YAML: {error}") from error
    mapping = value.mapping()
    if mapping is None:
        raise ConfigError(file, value.line, "", "the file must hold options, each as `name: value`")
    return mapping


class _Converter:
    def __init__(self, loader: yaml.SafeLoader, file: str, warn: Callable[[str], None]) -> None:
        self._loader = loader
        self._file = file
        self._warn = warn

    def convert(self, node: yaml.Node, depth: int = 0) -> Value:
        line = node.start_mark.line + 1
        # An anchor that contains itself would have no end.
        if depth > 50:
            raise ConfigError(self._file, line, "", "the values are nested too deeply")
        if isinstance(node, yaml.MappingNode):
            return Value(self._convert_mapping(node, depth), "", self._file, line)
        if isinstance(node, yaml.SequenceNode):
            items = tuple(self.convert(item, depth + 1) for item in node.value)
            return Value(items, "", self._file, line)
        return Value(self._loader.construct_object(node), node.value, self._file, line)

    def _convert_mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Value]:
        written = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        self._loader.flatten_mapping(node)
        result: dict[str, Value] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                line = key_node.start_mark.line + 1
                raise ConfigError(self._file, line, "", "the name of an option must be a word")
            key = key_node.value
            # Two of the same name in what was written; a merge key (`<<`) may be overridden.
            if key in result and written.count(key) > 1:
                line = key_node.start_mark.line + 1
                self._warn(f"{self._file}, line {line}: {key}: set a second time; the last one counts")
            value = self.convert(value_node, depth + 1)
            # The line of the name, not of a value that begins on the next line.
            result[key] = Value(value.data, value.text, value.file, key_node.start_mark.line + 1)
        return result
