"""Events of other servers' users that this server passes on to the servers of a room.

No table: the entry of the log is all there is.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from storage.change import Change
from storage.database import WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ForwardEvent(Change):
    """An event of another server's user that this server made part of the room, and tells the room's servers about.

    Committed after the event, when this server is the resident one of a join, leave or knock.
    """

    kind: ClassVar[str] = "forward"
    area: ClassVar[str] = "sending"

    room_id: str
    event_id: str

    def key(self) -> tuple[str, ...]:
        return (self.room_id, self.event_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        # The entry of the log is all there is.
        return
