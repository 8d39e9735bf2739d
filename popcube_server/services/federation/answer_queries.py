"""What other servers may ask about this one's users and aliases.

Source: server-server API, "Querying for information", "Device Management", "End-to-End Encryption".
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import orjson

from federation.room_dag.identifiers import domain_of, is_room_alias, is_user_id
from federation.sending.own_devices import OwnDevices, OwnUser
from popcube_server.services.errors import InvalidParam, NotAllowed, NotFound
from popcube_server.services.federation.rooms_for_servers import RoomsForServers
from storage.accounts import AccountsRepository
from storage.database import Database, Transaction
from storage.device_list_updates import DeviceListUpdatesRepository
from storage.profiles import ProfilesRepository
from synapse_like_config.lazy_dataclasses import dataclass

MAX_USERS: Final = 1_000


class RoomAliases(Protocol):
    """Knows where this server's aliases lead."""

    async def find(self, alias: str) -> Any: ...


class ServersInRoom(Protocol):
    async def get(self, room_id: str) -> Any:
        """Names of the servers in a room."""


@dataclass(frozen=True, slots=True)
class QuerySettings:
    server_name: str
    are_profiles_shown: bool


@dataclass(frozen=True, slots=True)
class DeviceList:
    """All of a user's devices with keys, and the state of the list that this is."""

    stream_id: int
    user: OwnUser


class AnswerQueries:
    def __init__(
        self,
        settings: QuerySettings,
        database: Database,
        own_devices: OwnDevices,
        aliases: RoomAliases,
        servers: ServersInRoom,
        rooms: RoomsForServers,
    ) -> None:
        self._settings = settings
        self._database = database
        self._own_devices = own_devices
        self._aliases = aliases
        self._servers = servers
        self._rooms = rooms
        self._accounts = AccountsRepository()
        self._profiles = ProfilesRepository()
        self._updates = DeviceListUpdatesRepository()

    async def profile(self, user_id: str, field: str | None) -> Mapping[str, Any]:
        """Every field or one. Raises `InvalidParam`, `NotAllowed`, `NotFound`."""
        self._check_own_user(user_id)
        if not self._settings.are_profiles_shown:
            raise NotAllowed("This server shows profiles to its users only.")
        known, fields = await self._database.read(
            lambda tx: (self._accounts.exists(tx, user_id), self._profiles.get(tx, user_id))
        )
        if not known:
            raise NotFound("There is no such user.")
        return {name: orjson.loads(value) for name, value in fields.items() if field is None or name == field}

    async def directory(self, alias: str) -> tuple[str, Sequence[str]]:
        """Room ID, and servers through which the room can be joined. Raises `InvalidParam`, `NotFound`."""
        if not is_room_alias(alias) or domain_of(alias) != self._settings.server_name:
            raise InvalidParam("That is not an alias of this server.")
        found = await self._aliases.find(alias)
        if found is None or not await self._rooms.has(found.room_id):
            raise NotFound("There is no such alias.")
        servers = {*await self._servers.get(found.room_id), self._settings.server_name}
        return found.room_id, sorted(servers)

    async def devices(self, user_id: str) -> DeviceList:
        """Raises `InvalidParam`, `NotFound`."""
        self._check_own_user(user_id)

        def read(tx: Transaction) -> tuple[int, OwnUser | None]:
            return (
                self._updates.find_stream_id(tx, user_id),
                self._own_devices.read(tx, (user_id,)).get(user_id),
            )

        stream_id, user = await self._database.read(read)
        if user is None:
            raise NotFound("There is no such user.")
        return DeviceList(stream_id, user)

    async def keys(self, users: Mapping[str, Sequence[str]]) -> Mapping[str, OwnUser]:
        """Those of this server's users. Raises `InvalidParam`."""
        if len(users) > MAX_USERS:
            raise InvalidParam(f"Ask for at most {MAX_USERS} users at a time.")
        own = [user_id for user_id in users if self._is_own_user(user_id)]
        return await self._own_devices.get(own)

    def _is_own_user(self, user_id: str) -> bool:
        return is_user_id(user_id) and domain_of(user_id) == self._settings.server_name

    def _check_own_user(self, user_id: str) -> None:
        if not self._is_own_user(user_id):
            raise InvalidParam("That is not a user of this server.")
