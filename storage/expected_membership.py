"""What was decided about a user outside of a room holds only while the user still stands there as it was then."""

from collections.abc import Sequence
from typing import ClassVar, Self

from storage.change import Change, Conflict
from storage.database import Transaction, WriteTransaction
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
    event_id: str | None
    """As `find_member_event_id` said."""

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            if find_member_event_id(tx, change.room_id, change.user_id) != change.event_id:
                raise MembershipMovedOn(f"{change.user_id} stands otherwise in {change.room_id} now")


def find_member_event_id(tx: Transaction, room_id: str, user_id: str) -> str | None:
    """The event that the user's membership comes from; None without one."""
    row = MembershipsRepository().find(tx, room_id, user_id)
    return None if row is None else find_event_ids(tx, (row.event_nid,)).get(row.event_nid)
