"""Keys of users of other servers: from what is known here, or asked of their servers."""

from collections import defaultdict
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, DeferredList

from federation.room_dag.canonical_json import NotCanonical, encode_canonical
from federation.room_dag.identifiers import domain_of, is_user_id
from federation.transport.errors import FederationError
from popcube_server.services.edus.edu_content import BadEdu
from popcube_server.services.edus.remote_device_lists import RemoteDeviceLists
from popcube_server.services.edus.remote_identity import RemoteIdentity, read_cross_signing, read_device
from popcube_server.services.edus.shared_rooms import SharedRooms
from popcube_server.services.keys.checked_keys import MAX_ONE_TIME_KEY_BYTES
from popcube_server.services.keys.remote_keys import ClaimedKeys, FoundKeys, UserKeys
from storage.cross_signing import MASTER, SELF_SIGNING, CrossSigningKey, CrossSigningRepository
from storage.database import Database, Transaction
from storage.remote_devices import RemoteDevicesRepository

MAX_FETCHES: Final = 50
"""Lists that one request fetches whole; the others are asked for without being kept."""

Users = Mapping[str, tuple[str, ...]]
Devices = Mapping[str, Mapping[str, str]]


class AskKeys(Protocol):
    async def query_keys(
        self, destination: str, users: Mapping[str, Sequence[str]], timeout_ms: int
    ) -> Mapping[str, Any]: ...

    async def claim_keys(self, destination: str, users: Devices, timeout_ms: int) -> Mapping[str, Any]: ...


class QueryRemoteKeys:
    """The `RemoteKeys` of a server that federates."""

    def __init__(
        self, servers: AskKeys, lists: RemoteDeviceLists, shared: SharedRooms, database: Database
    ) -> None:
        self._servers = servers
        self._lists = lists
        self._shared = shared
        self._database = database
        self._remote_devices = RemoteDevicesRepository()
        self._cross_signing = CrossSigningRepository()

    async def query(self, users: Users, timeout_ms: int) -> FoundKeys:
        """Devices by user ID; no device means all. Never raises for a server that does not answer."""
        users = {user_id: devices for user_id, devices in users.items() if is_user_id(user_id)}
        found = await self._database.read(lambda tx: self._known(tx, users))
        missing = {user_id: devices for user_id, devices in users.items() if user_id not in found}
        failures: dict[str, dict[str, str]] = {}
        await _at_once(
            failures,
            {
                server: self._ask(server, wanted, timeout_ms, found)
                for server, wanted in _by_server(missing).items()
            },
        )
        return FoundKeys(found, failures)

    def _known(self, tx: Transaction, users: Users) -> dict[str, UserKeys]:
        lists = self._remote_devices.get_lists(tx, users)
        cross_signing: dict[str, dict[str, CrossSigningKey]] = defaultdict(dict)
        for row in self._cross_signing.get_of_users(tx, lists):
            cross_signing[row.user_id][row.key.usage] = row.key
        return {
            user_id: _user_keys(of_user.devices, cross_signing[user_id].values(), users[user_id])
            for user_id, of_user in lists.items()
        }

    async def _ask(
        self, server: str, users: Mapping[str, tuple[str, ...]], timeout_ms: int, found: dict[str, UserKeys]
    ) -> None:
        shared = [user_id for user_id in users if await self._shared.is_shared(user_id)]
        # What its server will tell the changes of is worth keeping.
        fetched = shared[:MAX_FETCHES]
        others = {user_id: users[user_id] for user_id in users if user_id not in set(fetched)}

        async def fetch(user_id: str) -> None:
            identity: RemoteIdentity = await self._lists.fetch(user_id)
            devices = {device.device_id: device.json for device in identity.devices}
            found[user_id] = _user_keys(devices, identity.cross_signing, users[user_id])

        work = [Deferred.fromCoroutine(fetch(user_id)) for user_id in fetched]
        if others:
            work.append(Deferred.fromCoroutine(self._query(server, others, timeout_ms, found)))
        for succeeded, failure in await DeferredList(work, consumeErrors=True):
            if not succeeded:
                failure.raiseException()  # type: ignore[attr-defined]

    async def _query(
        self, server: str, users: Mapping[str, tuple[str, ...]], timeout_ms: int, found: dict[str, UserKeys]
    ) -> None:
        answer = await self._servers.query_keys(server, users, timeout_ms)
        for user_id in users:
            devices = _get(answer, "device_keys", user_id)
            read = {
                device_id: json
                for device_id, keys in devices.items()
                if (json := _read_device(user_id, device_id, keys)) is not None
            }
            keys = {
                "master_key": _find(answer, "master_keys", user_id),
                "self_signing_key": _find(answer, "self_signing_keys", user_id),
            }
            found[user_id] = _user_keys(read, read_cross_signing(user_id, keys), users[user_id])

    async def claim(self, users: Devices, timeout_ms: int) -> ClaimedKeys:
        """Algorithms by user ID and device ID. Never raises for a server that does not answer."""
        claimed: dict[str, dict[str, dict[str, bytes]]] = {}
        failures: dict[str, dict[str, str]] = {}
        by_server = _by_server({user_id: of for user_id, of in users.items() if is_user_id(user_id)})
        await _at_once(
            failures,
            {
                server: self._claim(server, wanted, timeout_ms, claimed)
                for server, wanted in by_server.items()
            },
        )
        return ClaimedKeys(claimed, failures)

    async def _claim(
        self,
        server: str,
        users: Devices,
        timeout_ms: int,
        claimed: dict[str, dict[str, dict[str, bytes]]],
    ) -> None:
        answer = await self._servers.claim_keys(server, users, timeout_ms)
        for user_id, devices in users.items():
            of_user = _get(answer, "one_time_keys", user_id)
            for device_id, algorithm in devices.items():
                keys = of_user.get(device_id)
                # One key of the algorithm that was asked for, for a device that was asked for.
                for name, key in keys.items() if isinstance(keys, dict) else ():
                    json = _one_time_key(key)
                    if name.startswith(f"{algorithm}:") and json is not None:
                        claimed.setdefault(user_id, {})[device_id] = {name: json}
                        break


async def _at_once(
    failures: dict[str, dict[str, str]], work: Mapping[str, Coroutine[Any, Any, None]]
) -> None:
    async def attempt(server: str, asking: Coroutine[Any, Any, None]) -> None:
        try:
            await asking
        except FederationError as error:
            failures[server] = {"errcode": "M_UNREACHABLE", "error": error.reason}
        except BadEdu as error:
            failures[server] = {"errcode": "M_UNKNOWN", "error": f"The server's answer is wrong: {error}."}

    attempts = [Deferred.fromCoroutine(attempt(server, asking)) for server, asking in work.items()]
    for succeeded, failure in await DeferredList(attempts, consumeErrors=True):
        if not succeeded:
            failure.raiseException()  # type: ignore[attr-defined]


def _by_server(users: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    servers: dict[str, dict[str, Any]] = defaultdict(dict)
    for user_id, wanted in users.items():
        servers[domain_of(user_id)][user_id] = wanted
    return servers


def _user_keys(
    devices: Mapping[str, bytes], cross_signing: Iterable[CrossSigningKey], wanted: tuple[str, ...]
) -> UserKeys:
    keys = {key.usage: key.json for key in cross_signing}
    chosen = {device_id: json for device_id, json in devices.items() if not wanted or device_id in wanted}
    return UserKeys(chosen, keys.get(MASTER), keys.get(SELF_SIGNING))


def _find(answer: Mapping[str, Any], name: str, user_id: str) -> Any:
    value = answer.get(name)
    return value.get(user_id) if isinstance(value, dict) else None


def _get(answer: Mapping[str, Any], name: str, user_id: str) -> Mapping[str, Any]:
    value = _find(answer, name, user_id)
    return value if isinstance(value, dict) else {}


def _read_device(user_id: str, device_id: str, keys: Any) -> bytes | None:
    unsigned = keys.get("unsigned") if isinstance(keys, dict) else None
    name = unsigned.get("device_display_name") if isinstance(unsigned, dict) else None
    try:
        return read_device(user_id, device_id, keys, name)
    except BadEdu:
        return None


def _one_time_key(key: Any) -> bytes | None:
    if not isinstance(key, str | dict):
        return None
    try:
        json = encode_canonical(key)
    except NotCanonical:
        return None
    return json if len(json) <= MAX_ONE_TIME_KEY_BYTES else None
