"""The engine that the configuration names."""

import importlib
from typing import Protocol, cast

from storage.engines.engine import Engine
from synapse_like_config.database import DatabaseConfig

# `database.name` -> module. Only the one that was chosen is imported: the library of the other would cost each server
# up to 4.5 MiB of memory, and be of no use to it.
_MODULES = {"sqlite3": "storage.engines.sqlite", "psycopg2": "storage.engines.postgres"}


class _EngineModule(Protocol):
    """What each of the modules offers."""

    def open_engine(self, database: DatabaseConfig) -> Engine: ...


def choose_engine(database: DatabaseConfig) -> Engine:
    module = cast(_EngineModule, importlib.import_module(_MODULES[database.name]))
    return module.open_engine(database)
