"""Publish cross-signing keys: the first without further proof, others only by their owner's."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from federation.room_dag.signing import InvalidSignature, verify_signature
from popcube_server.services.errors import InvalidParam, MissingParam, NotAllowed, WithCode
from popcube_server.services.keys.checked_keys import (
    ED25519,
    check_cross_signing_key,
    decode_key,
    invalid_signature,
)
from popcube_server.services.requester import Requester
from storage.change import Change
from storage.committer import Committer
from storage.cross_signing import (
    MASTER,
    SELF_SIGNING,
    USER_SIGNING,
    CrossSigningKey,
    CrossSigningRepository,
    KeysMovedOn,
    SetCrossSigningKeys,
)
from storage.database import Database, Transaction
from storage.device_keys import DeviceKeysRepository
from storage.device_lists import DeviceListChanged
from synapse_like_config.lazy_dataclasses import dataclass

USAGES = (MASTER, SELF_SIGNING, USER_SIGNING)

Confirm = Callable[[], Awaitable[None]]
"""Returns once the user has proved who they are; raises what the client is to be answered otherwise."""


@dataclass(frozen=True, slots=True)
class _Present:
    """What the user has."""

    keys: Mapping[str, CrossSigningKey]
    device_ids: frozenset[str]


class UploadCrossSigningKeys:
    """POST /keys/device_signing/upload."""

    def __init__(self, database: Database, committer: Committer) -> None:
        self._database = database
        self._committer = committer
        self._cross_signing = CrossSigningRepository()
        self._device_keys = DeviceKeysRepository()

    async def upload(
        self, requester: Requester, keys: Mapping[str, Mapping[str, Any]], confirm: Confirm
    ) -> None:
        """Keys by usage. `confirm` is called only if the keys may not be uploaded without it."""
        user_id = requester.user_id
        new = {usage: check_cross_signing_key(key, user_id, usage) for usage, key in keys.items()}
        present = await self._database.read(lambda tx: self._read(tx, user_id))
        _check_names(new, present)
        _check_signatures(new, present, user_id)
        if _is_same(new, present):
            # "Allowing clients to upload the same set of keys more than once makes this endpoint idempotent"
            return
        # "User-Interactive Authentication MUST be performed for regular clients, except in these cases: there is no
        # existing master signing key uploaded to the homeserver, OR [...] the request contains no new keys."
        if MASTER in present.keys:
            await confirm()
        old_master = present.keys.get(MASTER)
        change = SetCrossSigningKeys(
            user_id, tuple(new.values()), None if old_master is None else old_master.public_key
        )
        try:
            await self._committer.commit(change, _list_change(new, user_id))
        except KeysMovedOn as error:
            raise WithCode(
                409, "M_UNKNOWN", "The cross-signing keys were changed at the same time."
            ) from error

    def _read(self, tx: Transaction, user_id: str) -> _Present:
        return _Present(
            self._cross_signing.get_of_user(tx, user_id),
            frozenset(self._device_keys.get_device_names(tx, (user_id,)).get(user_id, ())),
        )


def _check_names(new: Mapping[str, CrossSigningKey], present: _Present) -> None:
    names = [key.public_key for key in {**present.keys, **new}.values()]
    if len(set(names)) < len(names):
        raise InvalidParam("The cross-signing keys must be different.")
    # "The public key of one of the keys is the same as one of the user's device IDs"
    if not present.device_ids.isdisjoint(names):
        raise NotAllowed("Key ID in use: a device is called like one of the keys.")


def _check_signatures(new: Mapping[str, CrossSigningKey], present: _Present, user_id: str) -> None:
    # "Must be signed by the accompanying master signing key, or by the user's most recently uploaded master signing
    # key if no master signing key is included in the request."
    master = new.get(MASTER) or present.keys.get(MASTER)
    if master is None:
        raise MissingParam("No master signing key is available.")
    for usage, key in new.items():
        if usage != MASTER:
            try:
                verify_signature(
                    orjson.loads(key.json),
                    user_id,
                    ED25519 + master.public_key,
                    decode_key(master.public_key),
                )
            except InvalidSignature as error:
                raise invalid_signature(f"The {usage} key: {error}.") from None


def _is_same(new: Mapping[str, CrossSigningKey], present: _Present) -> bool:
    return all(
        usage in present.keys and present.keys[usage].public_key == key.public_key
        for usage, key in new.items()
    )


def _list_change(new: Mapping[str, CrossSigningKey], user_id: str) -> Change:
    # Others never see the user-signing key.
    return DeviceListChanged(user_id, user_id if new.keys() == {USER_SIGNING} else None)
