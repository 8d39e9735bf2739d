"""What this server's users show of their keys, rendered once and kept: clients ask for the same people all day.

An entry goes when something that it shows changes: the log tells of it, whoever made the change. What was being read
while it changed is answered once, and not kept.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final, Generic, TypeVar

import orjson

from popcube_server.services.bounded_cache import BoundedCache
from storage.change import LogEntry
from storage.cross_signing import (
    MASTER,
    SELF_SIGNING,
    USER_SIGNING,
    AddSignature,
    CrossSigningKey,
    CrossSigningRepository,
    SetCrossSigningKeys,
    Signature,
)
from storage.database import Database, Transaction
from storage.device_keys import DeviceKeysRepository, RemoveDeviceKeys, SetDeviceKeys
from storage.devices import AddDevice
from storage.log import Log
from storage.replication.wipe_user import WipeUser
from synapse_like_config.lazy_dataclasses import dataclass

USERS_PER_READ: Final = 500
MAX_KEPT_BYTES: Final = 64 * 1024
"""Of one user: one with hundreds of devices or signatures is read each time."""
DEVICE_ID_BYTES: Final = 100
MAX_KEPT_SIGNED: Final = 1_000
"""Users that one user signed: what somebody signed who knows more is read each time."""
_KINDS_OF_USER: Final = frozenset(
    {
        AddDevice.kind,
        SetDeviceKeys.kind,
        RemoveDeviceKeys.kind,
        SetCrossSigningKeys.kind,
        AddSignature.kind,
        WipeUser.kind,
    }
)
"""Entries whose key begins with the user of whom something else is shown from now on."""

V = TypeVar("V")
Signed = Mapping[str, Sequence[Signature]]
"""Signatures that one user put on others' keys, by whose keys they are on."""


class _Kept(Generic[V]):
    """A cache of what is read from the database, of which nothing enters that changed while it was read."""

    def __init__(self, size: int) -> None:
        self.cache: BoundedCache[str, V] = BoundedCache(size)
        self._being_read: list[set[str]] = []

    @contextmanager
    def reading(self, names: Iterable[str]) -> Iterator[set[str]]:
        """Gives those of the names that nothing happened to since."""
        unchanged = set(names)
        self._being_read.append(unchanged)
        try:
            yield unchanged
        finally:
            # By identity: another one may be equal.
            self._being_read = [each for each in self._being_read if each is not unchanged]

    def drop(self, name: str) -> None:
        self.cache.drop(name)
        for unchanged in self._being_read:
            unchanged.discard(name)

    def clear(self) -> None:
        self.cache.clear()
        for unchanged in self._being_read:
            unchanged.clear()


@dataclass(frozen=True, slots=True)
class LocalUser:
    """A user's keys with what the user signed of them: canonical JSON or, where there are signatures, JSON."""

    device_ids: frozenset[str]
    """Of all devices, whether they have keys or not."""
    devices: Mapping[str, bytes]
    """By device ID, as others see them."""
    all_devices: bytes
    """The same as one JSON object."""
    master: bytes | None
    self_signing: bytes | None
    user_signing: bytes | None
    """For the user's own eyes."""

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory."""
        cross_signing = sum(len(key or b"") for key in (self.master, self.self_signing, self.user_signing))
        return 2 * len(self.all_devices) + cross_signing + DEVICE_ID_BYTES * len(self.device_ids)


class LocalKeys:
    """Keys of users that have accounts here."""

    def __init__(self, database: Database, log: Log, size: int) -> None:
        self._database = database
        self._device_keys = DeviceKeysRepository()
        self._cross_signing = CrossSigningRepository()
        self._users: _Kept[LocalUser] = _Kept(size)
        self._signed: _Kept[Signed] = _Kept(size)
        self.users = self._users.cache
        log.follow(self._follow)

    def has(self, user_id: str) -> bool:
        """Whether the user's keys are in memory."""
        return self._users.cache.peek(user_id) is not None

    async def get(self, user_ids: Iterable[str]) -> Mapping[str, LocalUser]:
        """Those that have accounts here."""
        found: dict[str, LocalUser] = {}
        missing: list[str] = []
        for user_id in user_ids:
            user = self._users.cache.get(user_id)
            if user is None:
                missing.append(user_id)
            else:
                found[user_id] = user
        for start in range(0, len(missing), USERS_PER_READ):
            chunk = missing[start : start + USERS_PER_READ]
            with self._users.reading(chunk) as unchanged:
                read = await self._database.read(partial(self._read, user_ids=chunk))
                for user_id, user in read.items():
                    if user_id in unchanged and user.size_bytes <= MAX_KEPT_BYTES:
                        self._users.cache.put(user_id, user)
            found.update(read)
        return found

    async def signed_by(self, viewer_id: str) -> Signed:
        """What a user signed of others' keys, also of users of other servers."""
        signed = self._signed.cache.get(viewer_id)
        if signed is None:
            with self._signed.reading((viewer_id,)) as unchanged:
                signed = await self._database.read(partial(self._read_signed, viewer_id=viewer_id))
                if viewer_id in unchanged and len(signed) <= MAX_KEPT_SIGNED:
                    self._signed.cache.put(viewer_id, signed)
        return signed

    def _read_signed(self, tx: Transaction, viewer_id: str) -> Signed:
        signed: dict[str, list[Signature]] = defaultdict(list)
        for signature in self._cross_signing.get_signed_by(tx, viewer_id):
            if signature.user_id != viewer_id:
                signed[signature.user_id].append(signature)
        return signed

    def _read(self, tx: Transaction, user_ids: Sequence[str]) -> Mapping[str, LocalUser]:
        signatures: dict[tuple[str, str], list[Signature]] = defaultdict(list)
        for signature in self._cross_signing.get_own_signatures(tx, user_ids):
            signatures[signature.user_id, signature.target].append(signature)
        devices = {
            (row.user_id, row.device_id): with_signatures(
                row.json, signatures.get((row.user_id, row.device_id), ())
            )
            for row in self._device_keys.get_of_users(tx, user_ids)
        }
        signing: dict[str, dict[str, CrossSigningKey]] = defaultdict(dict)
        for each in self._cross_signing.get_of_users(tx, user_ids):
            json = with_signatures(each.key.json, signatures.get((each.user_id, each.key.public_key), ()))
            signing[each.user_id][each.key.usage] = replace(each.key, json=json)
        return {
            user_id: _local_user(
                names,
                {
                    device_id: _with_display_name(devices[user_id, device_id], name)
                    for device_id, name in names.items()
                    if (user_id, device_id) in devices
                },
                signing[user_id],
            )
            for user_id, names in self._device_keys.get_device_names(tx, user_ids).items()
        }

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.kind not in _KINDS_OF_USER:
                continue
            self._users.drop(entry.key[0])
            if entry.kind == AddSignature.kind:
                self._signed.drop(entry.key[2])
            elif entry.kind in (SetCrossSigningKeys.kind, WipeUser.kind):
                # Signatures on keys that are no more are gone, whoever made them.
                self._signed.clear()


def with_signatures(json: bytes, signatures: Sequence[Signature]) -> bytes:
    """A key with more signatures than its own."""
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


def _local_user(
    device_ids: Iterable[str], devices: Mapping[str, bytes], signing: Mapping[str, CrossSigningKey]
) -> LocalUser:
    def json(usage: str) -> bytes | None:
        return signing[usage].json if usage in signing else None

    return LocalUser(
        frozenset(device_ids),
        devices,
        as_object(devices),
        json(MASTER),
        json(SELF_SIGNING),
        json(USER_SIGNING),
    )


def as_object(members: Mapping[str, bytes]) -> bytes:
    """A JSON object of values that are JSON already."""
    return b"{%b}" % b",".join(b"%b:%b" % (orjson.dumps(name), json) for name, json in members.items())
