"""The content of a user's own member events: membership, profile, reason."""

from collections.abc import Mapping
from typing import Any, Protocol


class MemberProfiles(Protocol):
    """What member events say of a user."""

    async def member_fields(self, user_id: str) -> Mapping[str, str]:
        """`displayname` and `avatar_url`, as far as they are set; nothing for users of other servers."""


async def member_content(
    profiles: MemberProfiles, user_id: str, membership: str, reason: str | None = None
) -> dict[str, Any]:
    """The content of a member event that shows the user's profile."""
    content: dict[str, Any] = {"membership": membership, **await profiles.member_fields(user_id)}
    if reason is not None:
        content["reason"] = reason
    return content
