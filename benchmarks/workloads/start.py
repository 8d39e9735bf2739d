"""Starting, and lying idle."""

from collections.abc import Iterator

from benchmarks.load import Result
from benchmarks.site import Site
from benchmarks.sizes import Sizes


class Start:
    """A start on a database that exists. The memory is that of the idle server, not a peak."""

    def __init__(self, site: Site, sizes: Sizes) -> None:
        self._site = site

    def turn(self) -> Iterator[tuple[str, Result]]:
        yield "start to first answer, idle memory", self._site.restart()
