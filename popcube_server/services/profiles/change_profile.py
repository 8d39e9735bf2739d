"""Change one's own profile. Whoever follows the log takes a new name or avatar to the rooms."""

from typing import Any

from popcube_server.services.accounts.suspension import check_not_suspended
from popcube_server.services.errors import NotAllowed, WithCode
from popcube_server.services.profiles.profile_fields import check_field_name, encode_field
from popcube_server.services.requester import Requester
from storage.change import Change
from storage.committer import Committer
from storage.profiles import DeleteProfileField, ProfileTooLarge, SetProfileField


class ChangeProfile:
    """`frozen_fields` are those that the configuration forbids to change."""

    def __init__(self, committer: Committer, frozen_fields: frozenset[str]) -> None:
        self._committer = committer
        self._frozen_fields = frozen_fields

    async def set(self, requester: Requester, user_id: str, field: str, value: Any) -> None:
        """Set a field to any JSON value."""
        self._authorize(requester, user_id, field)
        encoded = encode_field(field, value)
        if encoded is None:
            await self._commit(DeleteProfileField(user_id, field))
        else:
            await self._commit(SetProfileField(user_id, field, encoded))

    async def delete(self, requester: Requester, user_id: str, field: str) -> None:
        """Remove a field; one that is not there is removed too."""
        self._authorize(requester, user_id, field)
        await self._commit(DeleteProfileField(user_id, field))

    def _authorize(self, requester: Requester, user_id: str, field: str) -> None:
        check_field_name(field)
        if requester.user_id != user_id:
            raise NotAllowed("You can change your own profile only.")
        check_not_suspended(requester)
        # Client-server API, "Guest access": guests may set their display name and nothing else.
        if field in self._frozen_fields or (requester.is_guest and field != "displayname"):
            raise NotAllowed(f"'{field}' may not be changed.")

    async def _commit(self, change: Change) -> None:
        try:
            await self._committer.commit(change)
        except ProfileTooLarge as error:
            raise WithCode(400, "M_PROFILE_TOO_LARGE", "A profile may have at most 64 KiB.") from error
