"""Find the identity keys of users and their devices, as far as the asking user may see them."""

from collections.abc import Iterable, Mapping
from dataclasses import field

import orjson

from federation.room_dag.identifiers import domain_of, is_user_id
from popcube_server.services.errors import TooLarge
from popcube_server.services.keys.local_keys import LocalKeys, LocalUser, as_object, with_signatures
from popcube_server.services.keys.remote_keys import Failures, RemoteKeys, ShownKeys, UserKeys
from synapse_like_config.lazy_dataclasses import dataclass

MAX_USERS = 10_000
"""In one request. Clients ask for 250 at a time, some for everybody in a room."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What is put together of an answer."""

    device_keys: dict[str, bytes] = field(default_factory=dict)
    master_keys: dict[str, bytes] = field(default_factory=dict)
    self_signing_keys: dict[str, bytes] = field(default_factory=dict)
    user_signing_keys: dict[str, bytes] = field(default_factory=dict)

    def add_local(self, user_id: str, user: LocalUser, wanted: tuple[str, ...]) -> None:
        self.device_keys[user_id] = _choose(user, wanted) if wanted else user.all_devices
        if user.master is not None:
            self.master_keys[user_id] = user.master
        if user.self_signing is not None:
            self.self_signing_keys[user_id] = user.self_signing

    def add_remote(self, user_id: str, keys: UserKeys) -> None:
        self.device_keys[user_id] = as_object(keys.devices)
        if keys.master is not None:
            self.master_keys[user_id] = keys.master
        if keys.self_signing is not None:
            self.self_signing_keys[user_id] = keys.self_signing


class QueryKeys:
    """POST /keys/query."""

    def __init__(self, server_name: str, local: LocalKeys, remote: RemoteKeys) -> None:
        self._server_name = server_name
        self._local = local
        self._remote = remote

    async def query(self, viewer_id: str, users: Mapping[str, tuple[str, ...]], timeout_ms: int) -> ShownKeys:
        """Devices by user ID; no device means all of them. Unknown users and devices are left out."""
        if len(users) > MAX_USERS:
            raise TooLarge(f"Ask for at most {MAX_USERS} users at a time.")
        local, remote = self._divide(users)
        found = _Found()
        for user_id, user in (await self._local.get(local)).items():
            found.add_local(user_id, user, users[user_id])
            # "Information on the user-signing key of the user making the request": nobody else's.
            if user_id == viewer_id and user.user_signing is not None:
                found.user_signing_keys[user_id] = user.user_signing
        failures: Failures = {}
        if remote:
            answer = await self._remote.query(remote, timeout_ms)
            failures = answer.failures
            for user_id, keys in answer.users.items():
                found.add_remote(user_id, keys)
        await self._sign(viewer_id, found.master_keys)
        return ShownKeys(
            found.device_keys,
            found.master_keys,
            found.self_signing_keys,
            found.user_signing_keys,
            failures,
        )

    def _divide(
        self, users: Mapping[str, tuple[str, ...]]
    ) -> tuple[Iterable[str], Mapping[str, tuple[str, ...]]]:
        """Those of this server, and the others."""
        local: list[str] = []
        remote: dict[str, tuple[str, ...]] = {}
        for user_id, wanted in users.items():
            # Whoever is in memory has a user ID.
            if self._local.has(user_id):
                local.append(user_id)
            # "If the homeserver could be reached, but the user or device was unknown, no failure is recorded."
            elif not is_user_id(user_id):
                continue
            elif domain_of(user_id) == self._server_name:
                local.append(user_id)
            else:
                remote[user_id] = wanted
        return local, remote

    async def _sign(self, viewer_id: str, master_keys: dict[str, bytes]) -> None:
        """Add what the viewer signed of others' master keys: only the viewer sees that, and only this server has it."""
        if not master_keys.keys() - {viewer_id}:
            return
        for user_id, signatures in (await self._local.signed_by(viewer_id)).items():
            master = master_keys.get(user_id)
            if master is not None:
                public_keys = _public_keys(master)
                valid = [one for one in signatures if one.target in public_keys]
                master_keys[user_id] = with_signatures(master, valid)


def _choose(user: LocalUser, wanted: tuple[str, ...]) -> bytes:
    return as_object(
        {device_id: user.devices[device_id] for device_id in wanted if device_id in user.devices}
    )


def _public_keys(master: bytes) -> frozenset[str]:
    return frozenset(orjson.loads(master)["keys"].values())
