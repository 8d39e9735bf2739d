"""What is another option in one configuration than in another, by the names that the file has for it."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from synapse_like_config.config import ServerConfig
from synapse_like_config.options import METADATA_KEY, NestedSection, option_name


def find_differences(one: ServerConfig, other: ServerConfig) -> Sequence[str]:
    """In the order of the sections; of lists only that they differ."""
    return list(_differences(one, other, ""))


def _differences(one: Any, other: Any, path: str) -> Iterator[str]:
    for item in fields(one):
        before, after = getattr(one, item.name), getattr(other, item.name)
        if before == after:
            continue
        how = item.metadata.get(METADATA_KEY)
        if isinstance(how, NestedSection):
            inner = path if how.inline else f"{path}{item.name}."
            if before is None or after is None:
                yield inner.removesuffix(".")
            else:
                yield from _differences(before, after, inner)
        else:
            # What was read from a file that an option names has no name of its own.
            name = option_name(item.name, getattr(how, "name", None))
            yield f"{path}{name}"
