"""Read profiles, as far as the configuration lets people see them."""

from collections.abc import Mapping
from typing import Any, Protocol

import orjson

from federation.room_dag.identifiers import domain_of, is_user_id
from popcube_server.services.errors import InvalidParam, MissingToken, NotAllowed, NotFound
from popcube_server.services.profiles.profile_fields import check_field_name
from popcube_server.services.requester import Requester
from storage.accounts import AccountsRepository
from storage.database import Database, Transaction
from storage.memberships import MembershipsRepository
from storage.profiles import ProfilesRepository
from synapse_like_config.profiles import ProfilesSection


class RemoteProfiles(Protocol):
    """Asks the servers of other users."""

    async def get(self, requester: str, user_id: str) -> Mapping[str, bytes]:
        """Every field, as JSON.

        Raises `NotFound`, `LimitExceeded`, and a refusal with 502 or 504 if the server does not answer.
        """


class ReadProfile:
    """Profiles of users of this server and of others."""

    def __init__(
        self, server_name: str, section: ProfilesSection, database: Database, remote: RemoteProfiles
    ) -> None:
        self._server_name = server_name
        self._remote = remote
        self._needs_shared_room = section.limit_profile_requests_to_users_who_share_rooms
        self._needs_token = section.require_auth_for_profile_requests or self._needs_shared_room
        self._database = database
        self._accounts = AccountsRepository()
        self._profiles = ProfilesRepository()
        self._memberships = MembershipsRepository()

    async def get(self, requester: Requester | None, user_id: str) -> Mapping[str, Any]:
        """Every field. Raises `NotFound` if there is no such user."""
        fields = await self._get_json(requester, user_id)
        return {field: orjson.loads(value) for field, value in fields.items()}

    async def get_field(self, requester: Requester | None, user_id: str, field: str) -> Any:
        """One field's value. Raises `NotFound` if it is not set."""
        check_field_name(field)
        fields = await self._get_json(requester, user_id)
        if field not in fields:
            raise NotFound("This profile has no such field.")
        return orjson.loads(fields[field])

    async def _get_json(self, requester: Requester | None, user_id: str) -> Mapping[str, bytes]:
        if self._needs_token and requester is None:
            raise MissingToken("This server shows profiles to its users only.")
        if not is_user_id(user_id):
            raise InvalidParam("This is not a user ID.")
        if self._needs_shared_room:
            await self._authorize(requester, user_id)
        if domain_of(user_id) != self._server_name:
            # Nobody makes this server ask others without being known here.
            if requester is None:
                raise NotFound("There is no such user here.")
            return await self._remote.get(requester.user_id, user_id)
        known, fields = await self._database.read(
            lambda tx: (self._accounts.exists(tx, user_id), self._profiles.get(tx, user_id))
        )
        if not known:
            raise NotFound("There is no such user.")
        return fields

    async def _authorize(self, requester: Requester | None, user_id: str) -> None:
        if requester is None or requester.user_id == user_id:
            return
        mine, theirs = await self._database.read(
            lambda tx: (self._joined(tx, requester.user_id), self._joined(tx, user_id))
        )
        if mine.isdisjoint(theirs):
            raise NotAllowed("You share no room with this user.")

    def _joined(self, tx: Transaction, user_id: str) -> frozenset[str]:
        rows = self._memberships.get_of_user(tx, user_id)
        return frozenset(row.room_id for row in rows if row.membership == "join")
