"""A duty, as those see it who do the work."""

from typing import Protocol


class Hold(Protocol):
    """That this site has a duty, from some moment on. Never again once it is lost: then another one is given."""

    @property
    def epoch(self) -> int:
        """Higher than that of everybody who had the duty before."""

    def is_held(self) -> bool:
        """Asked before each thing that only one site may do. By the clock: a program that was halted hears it too."""


class DutyWork(Protocol):
    """What is done by whoever has a duty. Calls come in turns, `gained` first."""

    def gained(self, hold: Hold) -> None:
        """This site has the duty."""

    def lost(self) -> None:
        """It has it no more: nothing new may be begun when this returns."""


class Always:
    """Of an organisation on one site."""

    epoch = 0

    def is_held(self) -> bool:
        return True


class SoleDuty:
    """A duty of an organisation on one site: a part that always has it."""

    def __init__(self, work: DutyWork) -> None:
        self._work = work

    def start(self) -> None:
        self._work.gained(Always())

    async def stop(self) -> None:
        self._work.lost()
