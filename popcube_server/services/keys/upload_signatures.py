"""Publish signatures of keys: of the user's own devices and master key, and of other users' master keys."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from federation.room_dag.canonical_json import NotCanonical
from federation.room_dag.signing import InvalidSignature, find_signature, json_signed_bytes, verify_bytes
from popcube_server.services.errors import InvalidParam, TooLarge
from popcube_server.services.keys.checked_keys import ED25519, decode_key
from storage.change import Change
from storage.committer import Committer
from storage.cross_signing import (
    MASTER,
    SELF_SIGNING,
    USER_SIGNING,
    AddSignature,
    CrossSigningKey,
    CrossSigningRepository,
    Signature,
    TooManySignatures,
)
from storage.database import Database, Transaction
from storage.device_keys import DeviceKeysRepository
from storage.device_lists import DeviceListChanged
from synapse_like_config.lazy_dataclasses import dataclass

MAX_KEYS = 1_000
"""Signed keys in one request."""

SignedKeys = Mapping[str, Mapping[str, Any]]
"""Signed JSON objects by user ID and key ID (a device ID or a public key)."""
Failures = dict[str, dict[str, dict[str, str]]]


class _Failure(Exception):
    """Why one key's signatures are not taken."""

    def __init__(self, errcode: str, message: str) -> None:
        super().__init__(message)
        self.errcode = errcode
        self.message = message


@dataclass(frozen=True, slots=True)
class _Known:
    """What is there to be signed and to sign with."""

    signer_id: str
    device_keys: Mapping[str, bytes]
    """The signer's own, by device ID."""
    cross_signing_keys: Mapping[tuple[str, str], CrossSigningKey]
    """By user ID and usage."""
    signatures: frozenset[Signature]

    def signing_key(self, usage: str) -> CrossSigningKey:
        key = self.cross_signing_keys.get((self.signer_id, usage))
        if key is None:
            raise _Failure("M_NOT_FOUND", f"You have no {usage} key.")
        return key


class UploadSignatures:
    """POST /keys/signatures/upload."""

    def __init__(self, database: Database, committer: Committer) -> None:
        self._database = database
        self._committer = committer
        self._cross_signing = CrossSigningRepository()
        self._device_keys = DeviceKeysRepository()

    async def upload(self, signer_id: str, signed: SignedKeys) -> Failures:
        """Stores every signature that is right; returns why others are not, by user ID and key ID."""
        if sum(len(keys) for keys in signed.values()) > MAX_KEYS:
            raise TooLarge(f"Sign at most {MAX_KEYS} keys at a time.")
        known = await self._database.read(lambda tx: self._read(tx, signer_id, list(signed)))
        found: list[Signature] = []
        failures: Failures = {}
        for user_id, keys in signed.items():
            for key_id, key in keys.items():
                try:
                    found += _find_signatures(known, user_id, key_id, key)
                except _Failure as failure:
                    reason = {"errcode": failure.errcode, "error": failure.message}
                    failures.setdefault(user_id, {})[key_id] = reason
        new = [signature for signature in found if signature not in known.signatures]
        if new:
            await self._commit(signer_id, new)
        return failures

    def _read(self, tx: Transaction, signer_id: str, users: Sequence[str]) -> _Known:
        own = self._device_keys.get_of_users(tx, (signer_id,))
        keys = self._cross_signing.get_of_users(tx, {*users, signer_id})
        return _Known(
            signer_id,
            {row.device_id: row.json for row in own},
            {(row.user_id, row.key.usage): row.key for row in keys},
            frozenset(self._cross_signing.get_signatures(tx, users, signer_id)),
        )

    async def _commit(self, signer_id: str, signatures: Sequence[Signature]) -> None:
        changes: list[Change] = [AddSignature(signature) for signature in signatures]
        for user_id in dict.fromkeys(signature.user_id for signature in signatures):
            # "Users will not be able to see signatures made by other users' user-signing keys."
            changes.append(DeviceListChanged(user_id, None if user_id == signer_id else signer_id))
        try:
            await self._committer.commit(*changes)
        except TooManySignatures as error:
            raise InvalidParam("There are too many signatures on one key.") from error


def _find_signatures(known: _Known, user_id: str, key_id: str, key: Any) -> list[Signature]:
    if not isinstance(key, dict):
        raise _Failure("M_BAD_JSON", "The signed key must be an object.")
    master = known.cross_signing_keys.get((user_id, MASTER))
    if user_id == known.signer_id:
        if key_id in known.device_keys:
            return _of_own_device(known, key_id, key)
        if master is not None and key_id == master.public_key:
            return _of_own_master(known, master, key)
    elif master is not None and key_id == master.public_key:
        return _of_other_master(known, user_id, master, key)
    raise _Failure("M_NOT_FOUND", "There is no such key.")


def _of_own_device(known: _Known, device_id: str, key: Mapping[str, Any]) -> list[Signature]:
    message = _signed_bytes(known.device_keys[device_id], key)
    self_signing = known.signing_key(SELF_SIGNING)
    return [
        _checked(
            known, known.signer_id, device_id, key, message, self_signing.public_key, self_signing.public_key
        )
    ]


def _of_own_master(known: _Known, master: CrossSigningKey, key: Mapping[str, Any]) -> list[Signature]:
    message = _signed_bytes(master.json, key)
    found = []
    for device_id, json in known.device_keys.items():
        if find_signature(key, known.signer_id, ED25519 + device_id) is not None:
            public_key = orjson.loads(json)["keys"][ED25519 + device_id]
            found.append(
                _checked(known, known.signer_id, master.public_key, key, message, device_id, public_key)
            )
    if not found:
        raise _Failure("M_INVALID_SIGNATURE", "The master key is not signed by one of your devices.")
    return found


def _of_other_master(
    known: _Known, user_id: str, master: CrossSigningKey, key: Mapping[str, Any]
) -> list[Signature]:
    message = _signed_bytes(master.json, key)
    user_signing = known.signing_key(USER_SIGNING)
    return [
        _checked(
            known, user_id, master.public_key, key, message, user_signing.public_key, user_signing.public_key
        )
    ]


def _signed_bytes(stored: bytes, key: Mapping[str, Any]) -> bytes:
    # "The signed JSON object must match the key previously uploaded or retrieved for the given key ID, with the
    # exception of the `signatures` property"
    try:
        message = json_signed_bytes(key)
    except NotCanonical as error:
        raise _Failure("M_BAD_JSON", str(error)) from None
    if message != json_signed_bytes(orjson.loads(stored)):
        raise _Failure("M_INVALID_PARAM", "The signed key is not the one that was uploaded.")
    return message


def _checked(
    known: _Known,
    user_id: str,
    target: str,
    key: Mapping[str, Any],
    message: bytes,
    signer_key: str,
    public_key: str,
) -> Signature:
    signature = find_signature(key, known.signer_id, ED25519 + signer_key)
    if signature is None:
        raise _Failure("M_INVALID_SIGNATURE", f"There is no signature by '{ED25519}{signer_key}'.")
    try:
        verify_bytes(message, signature, decode_key(public_key))
    except InvalidSignature as error:
        raise _Failure("M_INVALID_SIGNATURE", f"{error}.") from None
    return Signature(user_id, target, known.signer_id, ED25519 + signer_key, signature)
