"""Loads what writes `/metrics`, for the first who asks.

The library is thirty modules, an HTTP server among them, which would cost every server a megabyte of memory.
"""

import importlib
from collections.abc import Iterable
from typing import Any, Protocol, cast

from popcube_server.counters import Family


class Exposition(Protocol):
    """`popcube_server/exposition.py`."""

    def render(self, families: Iterable[Family[Any]]) -> bytes: ...


def load_exposition() -> Exposition:
    return cast(Exposition, importlib.import_module("popcube_server.exposition"))
