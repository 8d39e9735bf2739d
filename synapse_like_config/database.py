"""Where the data is: SQLite for one process on one machine, PostgreSQL for everything else."""

from collections.abc import Mapping
from typing import Final

from synapse_like_config import options
from synapse_like_config.errors import WrongValue
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.values import Plain

MIN_CONNECTIONS: Final = 4
"""One that writes, one that reads, and those of the threads for other work (`storage.engines.engine.WORK_THREADS`)."""


@dataclass(frozen=True)
class DatabaseConfig:
    """`args` holds what Synapse puts there; the properties say what each of them means to us."""

    name: str = options.choice("sqlite3", ("sqlite3", "psycopg2"))
    args: Mapping[str, Plain] = options.plain_mapping(secret=True)
    txn_limit: int = options.integer(0, 0)
    allow_unsafe_locale: bool = options.boolean(False)

    def check(self) -> None:
        for key, value in self.args.items():
            if isinstance(value, list | dict):
                raise WrongValue("must be a single value", f"args.{key}")
        for key in ("cp_min", "cp_max"):
            value = self.args.get(key, 1)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
                raise WrongValue("must be a whole number from 1 to 1000", f"args.{key}")
        if self.cp_min > self.cp_max:
            raise WrongValue("must not be more than cp_max", "args.cp_min")
        if self.name == "psycopg2" and self.cp_max < MIN_CONNECTIONS:
            # Where Synapse would wait for its one connection, this server has threads that keep one each.
            raise WrongValue(
                f"must be {MIN_CONNECTIONS} at least: so many connections to PostgreSQL a server needs",
                "args.cp_max",
            )
        if self.name == "sqlite3" and not isinstance(self.args.get("database", "x"), str):
            raise WrongValue("must be the path of the database file", "args.database")

    @property
    def sqlite_path(self) -> str:
        """The file of an SQLite database, or `:memory:`."""
        return str(self.args.get("database", "homeserver.db"))

    @property
    def connection_arguments(self) -> dict[str, str | int | float | bool]:
        """What `psycopg2.connect` is given: everything that is not about the pool."""
        return {
            key: value
            for key, value in self.args.items()
            if not key.startswith("cp_") and isinstance(value, str | int | float)
        }

    @property
    def cp_min(self) -> int:
        """Connections kept open. Synapse's default."""
        return self._pool_size("cp_min", min(5, self._pool_size("cp_max", 10)))

    @property
    def cp_max(self) -> int:
        """Connections at most. Synapse's default."""
        return self._pool_size("cp_max", max(10, self._pool_size("cp_min", 5)))

    def _pool_size(self, key: str, default: int) -> int:
        value = self.args.get(key, default)
        return value if isinstance(value, int) else default
