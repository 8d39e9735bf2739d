"""What destinations miss is kept until it is written down."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from federation.sending.destination_queue import QueuedEvent
from federation.sending.falling_behind import FallingBehind
from storage.change import Change
from storage.committer import CommitFailed
from storage.destinations_behind import FallBehind, RoomBehind

X, Y = "x.example", "y.example"


class SlowTenure:
    """Writes when it is told to."""

    def __init__(self) -> None:
        self.under_way: list[tuple[tuple[Change, ...], Deferred[None]]] = []

    async def commit(self, *changes: Change) -> None:
        waiting: Deferred[None] = Deferred()
        self.under_way.append((changes, waiting))
        await waiting


class FallingBehindTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tenure = SlowTenure()
        unused: Any = None
        tenure: Any = self.tenure
        self.behind = FallingBehind(unused, unused, unused, tenure, lambda: 0)

    def mark(self, destination: str, room_id: str, position: int) -> None:
        self.behind.mark(destination, QueuedEvent(position, room_id, f"${position}"), None)

    def flush(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.behind.flush())

    def test_what_is_marked_while_writing_fails_is_written_with_the_rest(self) -> None:
        self.mark(X, "!one", 1)
        self.mark(X, "!two", 2)
        flushing = self.flush()
        self.mark(X, "!one", 3)
        self.mark(Y, "!one", 3)
        ((_, waiting),) = self.tenure.under_way
        waiting.errback(CommitFailed("the disk is full"))
        self.failureResultOf(flushing, CommitFailed)
        flushing = self.flush()
        _, (changes, waiting) = self.tenure.under_way
        of_x = (RoomBehind("!two", 2, None, 2), RoomBehind("!one", 1, None, 3))
        of_y = (RoomBehind("!one", 3, None, 3),)
        self.assertEqual(changes, (FallBehind(X, 0, of_x), FallBehind(Y, 2, of_y)))
        waiting.callback(None)
        self.successResultOf(flushing)
        self.successResultOf(self.flush())
        self.assertEqual(len(self.tenure.under_way), 2)
