"""What was decided about a user outside of a room holds only while the user still stands there as it was then."""

from collections.abc import Sequence
from typing import ClassVar, Self

from storage.change import Change, Conflict
from storage.database import WriteTransaction
from storage.events import find_event_ids
from storage.memberships import MembershipsRepository
from synapse_like_config.lazy_dataclasses import dataclass


class MembershipMovedOn(Conflict):
    """The user's membership has come from another event meanwhile."""


@dataclass(frozen=True, slots=True)
class ExpectMembership(Change):
    """Writes nothing, nor lets anything be written with it if that is not the user's event. `MembershipMovedOn`."""

    kind: ClassVar[str] = "expected_membership"
    # Where events are written: it sees those that were submitted before it.
    area: ClassVar[str] = "rooms"
    logged: ClassVar[bool] = False

    room_id: str
    user_id: str
    event_id: str

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            row = MembershipsRepository().find(tx, change.room_id, change.user_id)
            nids = () if row is None else (row.event_nid,)
            if change.event_id not in find_event_ids(tx, nids).values():
                raise MembershipMovedOn(f"{change.user_id} stands otherwise in {change.room_id} now")
