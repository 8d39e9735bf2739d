"""Find the identity keys of users and their devices, as far as the asking user may see them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import orjson

from federation.room_dag.identifiers import domain_of
from popcube_server.services.errors import TooLarge
from popcube_server.services.keys.remote_keys import FoundKeys, RemoteKeys, UserKeys
from storage.cross_signing import (
    MASTER,
    SELF_SIGNING,
    USER_SIGNING,
    CrossSigningKey,
    CrossSigningRepository,
    Signature,
)
from storage.database import Database, Transaction
from storage.device_keys import DeviceKeysRepository

MAX_USERS = 10_000
"""In one request. Clients ask for 250 at a time, some for everybody in a room."""
USERS_PER_READ = 500

_Signatures = Mapping[tuple[str, str], Sequence[Signature]]


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the database holds of some users."""

    device_names: Mapping[str, Mapping[str, str | None]]
    device_keys: Mapping[tuple[str, str], bytes]
    cross_signing_keys: Mapping[tuple[str, str], CrossSigningKey]
    signatures: _Signatures


class QueryKeys:
    """POST /keys/query."""

    def __init__(self, server_name: str, database: Database, remote: RemoteKeys) -> None:
        self._server_name = server_name
        self._database = database
        self._remote = remote
        self._device_keys = DeviceKeysRepository()
        self._cross_signing = CrossSigningRepository()

    async def query(self, viewer_id: str, users: Mapping[str, tuple[str, ...]], timeout_ms: int) -> FoundKeys:
        """Devices by user ID; no device means all of them. Unknown users and devices are left out."""
        if len(users) > MAX_USERS:
            raise TooLarge(f"Ask for at most {MAX_USERS} users at a time.")
        local = {
            user_id: wanted for user_id, wanted in users.items() if domain_of(user_id) == self._server_name
        }
        remote = {user_id: wanted for user_id, wanted in users.items() if user_id not in local}
        found = await self._query_local(viewer_id, local)
        if not remote:
            return FoundKeys(found)
        answer = await self._remote.query(remote, timeout_ms)
        signed = await self._with_own_signatures(viewer_id, answer.users)
        return FoundKeys({**found, **signed}, answer.failures)

    async def _with_own_signatures(
        self, viewer_id: str, users: Mapping[str, UserKeys]
    ) -> Mapping[str, UserKeys]:
        """With what the viewer signed of other servers' users: only this server knows that."""
        signatures = await self._database.read(
            lambda tx: self._cross_signing.get_signatures(tx, users, viewer_id)
        )
        by_target: dict[str, dict[str, list[Signature]]] = defaultdict(lambda: defaultdict(list))
        for signature in signatures:
            if signature.signer_id == viewer_id:
                by_target[signature.user_id][signature.target].append(signature)
        return {user_id: _signed_by_viewer(keys, by_target.get(user_id)) for user_id, keys in users.items()}

    async def _query_local(self, viewer_id: str, users: Mapping[str, tuple[str, ...]]) -> dict[str, UserKeys]:
        names = list(users)
        found: dict[str, UserKeys] = {}
        for start in range(0, len(names), USERS_PER_READ):
            chunk = names[start : start + USERS_PER_READ]
            stored = await self._database.read(partial(self._read, viewer_id=viewer_id, users=chunk))
            for user_id in chunk:
                if user_id in stored.device_names:
                    found[user_id] = _user_keys(stored, viewer_id, user_id, users[user_id])
        return found

    def _read(self, tx: Transaction, viewer_id: str, users: Sequence[str]) -> _Stored:
        signatures: dict[tuple[str, str], list[Signature]] = defaultdict(list)
        for signature in self._cross_signing.get_signatures(tx, users, viewer_id):
            signatures[signature.user_id, signature.target].append(signature)
        return _Stored(
            self._device_keys.get_device_names(tx, users),
            {(row.user_id, row.device_id): row.json for row in self._device_keys.get_of_users(tx, users)},
            {(row.user_id, row.key.usage): row.key for row in self._cross_signing.get_of_users(tx, users)},
            signatures,
        )


def _user_keys(stored: _Stored, viewer_id: str, user_id: str, wanted: tuple[str, ...]) -> UserKeys:
    names = stored.device_names[user_id]
    devices = {}
    for device_id in wanted or names:
        json = stored.device_keys.get((user_id, device_id))
        if json is not None and device_id in names:
            signed = _with_signatures(json, stored.signatures.get((user_id, device_id), ()))
            devices[device_id] = _with_display_name(signed, names[device_id])

    def cross_signing(usage: str) -> bytes | None:
        key = stored.cross_signing_keys.get((user_id, usage))
        return (
            None
            if key is None
            else _with_signatures(key.json, stored.signatures.get((user_id, key.public_key), ()))
        )

    # "Information on the user-signing key of the user making the request": nobody else's.
    user_signing = cross_signing(USER_SIGNING) if user_id == viewer_id else None
    return UserKeys(devices, cross_signing(MASTER), cross_signing(SELF_SIGNING), user_signing)


def _signed_by_viewer(keys: UserKeys, by_target: Mapping[str, Sequence[Signature]] | None) -> UserKeys:
    if not by_target or keys.master is None:
        return keys
    public_key = next(iter(orjson.loads(keys.master)["keys"].values()))
    return replace(keys, master=_with_signatures(keys.master, by_target.get(public_key, ())))


def _with_signatures(json: bytes, signatures: Sequence[Signature]) -> bytes:
    if not signatures:
        return json
    key: dict[str, Any] = orjson.loads(json)
    merged = key.setdefault("signatures", {})
    for one in signatures:
        merged.setdefault(one.signer_id, {})[one.signing_key] = one.signature
    return orjson.dumps(key)


def _with_display_name(json: bytes, name: str | None) -> bytes:
    if name is None:
        return json
    # Spliced in at the end: the stored JSON has no `unsigned`, and is never empty.
    return json[:-1] + b',"unsigned":' + orjson.dumps({"device_display_name": name}) + b"}"
