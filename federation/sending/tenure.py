"""One sender's time: it begins when it takes over, and ends when it stops or another one takes over.

Whatever sending writes is written here, so that an older sender writes nothing any more.
"""

from collections.abc import Callable

from federation.sending.sending_duty import SendingDuty
from storage.change import Change
from storage.committer import Committed, Committer
from storage.sender_epoch import HoldDuty, SenderReplaced, TakeOver


class Tenure:
    """Owns the sender's epoch, and the numbers of its transactions. `replaced` is called when another one took over."""

    def __init__(self, committer: Committer, duty: SendingDuty, replaced: Callable[[], None]) -> None:
        self._committer = committer
        self._duty = duty
        self._replaced = replaced
        self._epoch = 0
        self._sent = 0
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Nothing is to begin any more."""
        return self._is_over

    async def begin(self) -> None:
        """Take over from whoever sent before."""
        committed = await self._committer.commit(TakeOver())
        (epoch,) = committed.results
        assert isinstance(epoch, int)
        self._epoch = epoch

    def end(self) -> None:
        self._is_over = True

    def is_held(self) -> bool:
        """Whether no other site can be sending by now."""
        return self._duty.is_held()

    def new_transaction_id(self) -> str:
        self._sent += 1
        return self._duty.transaction_id(self._epoch, self._sent)

    async def commit(self, *changes: Change) -> Committed:
        """Write as the sender whose turn it is. Raises `SenderReplaced`, and then nothing is sent any more."""
        try:
            return await self._committer.commit(*changes, HoldDuty(self._epoch))
        except SenderReplaced:
            self._is_over = True
            self._replaced()
            raise
