"""What is told of a room to all who were waiting for news of it, made once.

When something is said in a room, many answers go out at the same moment with the same events in them. Only the unread
counts in the room's section are of one user; they stand at its end. Sections of which more depends on the user are not
kept: whose own event is in it (it has their transaction ID), who ignores somebody, who gets members lazily, who came in
between, for whom there are receipts, typing or account data as well.
"""

from collections.abc import Callable, Collection, Hashable

from popcube_server.services.bounded_cache import BoundedCache
from popcube_server.services.sync.request import SyncRequest
from popcube_server.services.sync.timelines import RoomTask, Timeline
from synapse_like_config.lazy_dataclasses import dataclass

SIZE = 2_000
KEPT_FOR_MS = 2_000
"""`age` in bytes that are used again may be this much too small."""


@dataclass(frozen=True, slots=True)
class _Section:
    begin: bytes
    """The section up to the unread counts."""
    senders: frozenset[str]
    made_ms: int


class SharedSections:
    """Sections of rooms in which nothing but the timeline moved, by the stretch of the log that they are about."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._sections: BoundedCache[Hashable, _Section] = BoundedCache(SIZE)

    def find(self, request: SyncRequest, task: RoomTask, ignored: Collection[str]) -> bytes | None:
        """The section without its end, if somebody else was given the same a moment ago.

        To be asked only for rooms of which there is neither account data nor anything ephemeral to tell.
        """
        if not _is_of_everybody(request, task, ignored):
            return None
        section = self._sections.get(_key(request, task))
        if section is None or request.requester.user_id in section.senders:
            return None
        return section.begin if self._now_ms() - section.made_ms <= KEPT_FOR_MS else None

    def keep(
        self,
        request: SyncRequest,
        task: RoomTask,
        ignored: Collection[str],
        timeline: Timeline,
        begin: bytes,
    ) -> None:
        """Remember what was made for somebody, if others can be given it; the same is to hold as for `find`."""
        if timeline.is_limited or not timeline.events or not _is_of_everybody(request, task, ignored):
            return
        senders = frozenset(stored.event.sender for stored in timeline.events)
        if request.requester.user_id in senders or any(stored.redacted_by for stored in timeline.events):
            return
        self._sections.put(_key(request, task), _Section(begin, senders, self._now_ms()))


def _is_of_everybody(request: SyncRequest, task: RoomTask, ignored: Collection[str]) -> bool:
    view = request.view
    return (
        task.is_present
        # Neither the whole state, nor a part of it that moved, nor with it the summary.
        and task.changes is not None
        and not task.changes.pairs
        # Everything in it happened in front of the user.
        and task.seen_after <= task.lower
        and not ignored
        and not view.is_lazy
        and view.timeline.matches is None
        and view.timeline.is_room_wanted is None
    )


def _key(request: SyncRequest, task: RoomTask) -> Hashable:
    view = request.view
    return task.room_id, task.after, task.upto, view.timeline_limit, view.style, request.state_style
