"""What a piece of work looks like to the comparison."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from benchmarks.load import Result
from benchmarks.site import Site
from benchmarks.sizes import Sizes


class Workload(Protocol):
    """Work prepared on one site, ready to be measured again and again."""

    def turn(self) -> Iterator[tuple[str, Result]]:
        """Do it once. Pairs of what was done, as a row of the table names it, and what it took."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of work, and how it is prepared on a site."""

    name: str
    prepare: Callable[[Site, Sizes], Workload]
    # So much preparation that Synapse is spared it unless asked for.
    is_long: bool = False
