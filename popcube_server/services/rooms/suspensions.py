"""What sending asks about the account behind it."""

from typing import Protocol


class Suspensions(Protocol):
    """Knows which accounts a moderator has suspended."""

    async def check_not_suspended(self, user_id: str) -> None:
        """Raises M_USER_SUSPENDED."""
