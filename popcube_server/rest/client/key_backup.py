"""Specification module key_backup: versions of a backup, and the keys in it."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from popcube_server.rest.client.room_keys_body import MAX_NAME_BYTES, parse_room_keys, parse_session_key
from popcube_server.rest.endpoint import Call, endpoint
from popcube_server.rest.parse import find_string, get_object, get_string, query_string
from popcube_server.services.errors import InvalidParam
from popcube_server.services.keys.backup.session_keys import (
    BackupSessionKeys,
    BackupSlice,
    BackupState,
    RoomSessionKey,
    SessionKey,
)
from popcube_server.services.keys.backup.versions import BackupDefinition, BackupRow, BackupVersions

MAX_AUTH_DATA_BYTES = 64 * 1024

VERSION = "/_matrix/client/v3/room_keys/version"
KEYS = "/_matrix/client/v3/room_keys/keys"


class KeyBackupVersions:
    """The endpoints below /room_keys/version."""

    def __init__(self, versions: BackupVersions) -> None:
        self._versions = versions

    @endpoint("POST", VERSION)
    async def create(self, call: Call) -> Mapping[str, Any]:
        return {"version": await self._versions.create(call.requester.user_id, _definition(call.body))}

    @endpoint("GET", VERSION)
    async def get_current(self, call: Call) -> Mapping[str, Any]:
        return _version_answer(await self._versions.get_current(call.requester.user_id))

    @endpoint("GET", f"{VERSION}/{{version}}")
    async def get(self, call: Call) -> Mapping[str, Any]:
        return _version_answer(await self._versions.get(call.requester.user_id, call.path["version"]))

    @endpoint("PUT", f"{VERSION}/{{version}}")
    async def update(self, call: Call) -> Mapping[str, Any]:
        version = call.path["version"]
        # "If present, must be the same as the version in the path parameter."
        if find_string(call.body, "version") not in (None, version):
            raise InvalidParam("'version' is not the version in the path.")
        await self._versions.update(call.requester.user_id, version, _definition(call.body))
        return {}

    @endpoint("DELETE", f"{VERSION}/{{version}}")
    async def delete(self, call: Call) -> Mapping[str, Any]:
        await self._versions.delete(call.requester.user_id, call.path["version"])
        return {}


class KeyBackupKeys:
    """The endpoints below /room_keys/keys: of a whole version, of a room, of a session."""

    def __init__(self, session_keys: BackupSessionKeys) -> None:
        self._session_keys = session_keys

    @endpoint("PUT", KEYS)
    async def put_all(self, call: Call) -> Mapping[str, Any]:
        keys: list[RoomSessionKey] = []
        for room_id, room in get_object(call.body, "rooms").items():
            keys += parse_room_keys(room_id, room)
        return await self._store(call, keys)

    @endpoint("PUT", f"{KEYS}/{{room_id}}")
    async def put_room(self, call: Call) -> Mapping[str, Any]:
        return await self._store(call, parse_room_keys(call.path["room_id"], call.body))

    @endpoint("PUT", f"{KEYS}/{{room_id}}/{{session_id}}")
    async def put_session(self, call: Call) -> Mapping[str, Any]:
        return await self._store(
            call, [parse_session_key(call.path["room_id"], call.path["session_id"], call.body)]
        )

    async def _store(self, call: Call, keys: Iterable[RoomSessionKey]) -> Mapping[str, Any]:
        version = query_string(call, "version")
        return _state_answer(await self._session_keys.store(call.requester.user_id, version, tuple(keys)))

    @endpoint("GET", KEYS)
    async def get_all(self, call: Call) -> Mapping[str, Any]:
        rooms = await self._session_keys.get(call.requester.user_id, _slice(call))
        return {"rooms": {room_id: _room_answer(keys) for room_id, keys in rooms.items()}}

    @endpoint("GET", f"{KEYS}/{{room_id}}")
    async def get_room(self, call: Call) -> Mapping[str, Any]:
        rooms = await self._session_keys.get(call.requester.user_id, _slice(call))
        return _room_answer(rooms.get(call.path["room_id"], {}))

    @endpoint("GET", f"{KEYS}/{{room_id}}/{{session_id}}")
    async def get_session(self, call: Call) -> Mapping[str, Any]:
        key = await self._session_keys.get_one(
            call.requester.user_id,
            query_string(call, "version"),
            call.path["room_id"],
            call.path["session_id"],
        )
        return _key_answer(key)

    @endpoint("DELETE", KEYS)
    @endpoint("DELETE", f"{KEYS}/{{room_id}}")
    @endpoint("DELETE", f"{KEYS}/{{room_id}}/{{session_id}}")
    async def delete(self, call: Call) -> Mapping[str, Any]:
        return _state_answer(await self._session_keys.delete(call.requester.user_id, _slice(call)))


def _slice(call: Call) -> BackupSlice:
    return BackupSlice(query_string(call, "version"), call.path.get("room_id"), call.path.get("session_id"))


def _definition(body: Mapping[str, Any]) -> BackupDefinition:
    algorithm = get_string(body, "algorithm")
    if not algorithm or len(algorithm.encode()) > MAX_NAME_BYTES:
        raise InvalidParam(f"'algorithm' has 1 to {MAX_NAME_BYTES} bytes.")
    auth_data = orjson.dumps(get_object(body, "auth_data"))
    if len(auth_data) > MAX_AUTH_DATA_BYTES:
        raise InvalidParam(f"'auth_data' may have at most {MAX_AUTH_DATA_BYTES} bytes.")
    return BackupDefinition(algorithm, auth_data)


def _version_answer(row: BackupRow) -> Mapping[str, Any]:
    return {
        "version": str(row.version),
        "algorithm": row.algorithm,
        "auth_data": orjson.Fragment(row.auth_data),
        "count": row.count,
        "etag": str(row.etag),
    }


def _state_answer(state: BackupState) -> Mapping[str, Any]:
    return {"etag": str(state.etag), "count": state.count}


def _room_answer(keys: Mapping[str, SessionKey]) -> Mapping[str, Any]:
    return {"sessions": {session_id: _key_answer(key) for session_id, key in keys.items()}}


def _key_answer(key: SessionKey) -> Mapping[str, Any]:
    return {
        "first_message_index": key.first_message_index,
        "forwarded_count": key.forwarded_count,
        "is_verified": key.is_verified,
        "session_data": orjson.Fragment(key.session_data),
    }
