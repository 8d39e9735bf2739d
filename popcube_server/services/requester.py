"""Who is asking."""

from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Requester:
    """The owner of a valid access token."""

    user_id: str
    device_id: str
    session_id: str
    """Which login this is: one session keeps its id over token refreshes."""
    is_admin: bool = False
    is_guest: bool = False
    is_locked: bool = False
    """Shut out by an administrator: may only log out."""
    is_suspended: bool = False
    """See `services/accounts/suspension.py`."""

    @property
    def transaction_scope(self) -> str:
        """Within what transaction IDs are unique: the device, also after it has logged in again."""
        return f"{self.user_id} {self.device_id}"
