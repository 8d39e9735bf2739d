"""Which accounts changed lately: what was read of one before that must not be remembered afterwards."""

from collections import OrderedDict


class RecentChanges:
    """The newest change of each user, of at most `size` users."""

    def __init__(self, size: int) -> None:
        self._size = size
        # By user: the log's position, the oldest first.
        self._changed: OrderedDict[str, int] = OrderedDict()
        self._forgotten = 0

    def note(self, user_id: str, position: int) -> None:
        """Something of the user changed. Positions do not fall from call to call."""
        self._changed[user_id] = position
        self._changed.move_to_end(user_id)
        if len(self._changed) > self._size:
            _, self._forgotten = self._changed.popitem(last=False)

    def may_have_changed(self, user_id: str, since: int) -> bool:
        """Whether the user changed after that position, as far as is remembered; else it is said to be so."""
        return since < self._forgotten or self._changed.get(user_id, 0) > since
