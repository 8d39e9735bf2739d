"""Whether what a peer sent is to blame that it could not be written."""

from twisted.internet.defer import CancelledError

from storage.committer import CommitFailed
from storage.engines.engine import StorageError, Unavailable
from storage.held_back import NoRoomToHold


def is_at_fault(error: BaseException) -> bool:
    """Not if the database was away or busy, or something failed that it was built on: then it can be written later."""
    if isinstance(error, CommitFailed):
        return isinstance(error.__cause__, StorageError) and not isinstance(error.__cause__, Unavailable)
    return not isinstance(error, (StorageError, NoRoomToHold, CancelledError))
