"""What other servers are told about the devices and cross-signing keys of this server's users."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson

from federation.sending.edus import OwnDevice, OwnSigningKeys
from storage.cross_signing import MASTER, SELF_SIGNING, CrossSigningRepository, Signature
from storage.database import Database, Transaction
from storage.device_keys import DeviceKeysRepository
from synapse_like_config.lazy_dataclasses import dataclass

NOBODY = ""
"""A viewer who sees only the signatures that users put on their own keys."""


@dataclass(frozen=True, slots=True)
class OwnUser:
    """All devices of a user by ID, and the cross-signing keys that others may see."""

    devices: Mapping[str, OwnDevice]
    signing: OwnSigningKeys


class OwnDevices:
    """Reads the devices of users of this server. Display names are left out unless they are to be shown."""

    def __init__(self, database: Database, are_names_shown: bool) -> None:
        self._database = database
        self._are_names_shown = are_names_shown
        self._device_keys = DeviceKeysRepository()
        self._cross_signing = CrossSigningRepository()

    async def get(self, user_ids: Collection[str]) -> Mapping[str, OwnUser]:
        """Those that have accounts here."""
        return await self._database.read(lambda tx: self.read(tx, user_ids)) if user_ids else {}

    def read(self, tx: Transaction, user_ids: Collection[str]) -> Mapping[str, OwnUser]:
        """As `get`, within a transaction."""
        signatures: dict[tuple[str, str], list[Signature]] = defaultdict(list)
        for signature in self._cross_signing.get_signatures(tx, user_ids, NOBODY):
            signatures[signature.user_id, signature.target].append(signature)
        keys = {
            (row.user_id, row.device_id): _signed(row.json, signatures[row.user_id, row.device_id])
            for row in self._device_keys.get_of_users(tx, user_ids)
        }
        signing = {
            (row.user_id, row.key.usage): _signed(row.key.json, signatures[row.user_id, row.key.public_key])
            for row in self._cross_signing.get_of_users(tx, user_ids)
        }
        return {
            user_id: OwnUser(
                {
                    device_id: OwnDevice(
                        name if self._are_names_shown else None, keys.get((user_id, device_id))
                    )
                    for device_id, name in names.items()
                },
                OwnSigningKeys(signing.get((user_id, MASTER)), signing.get((user_id, SELF_SIGNING))),
            )
            for user_id, names in self._device_keys.get_device_names(tx, user_ids).items()
        }


def _signed(json: bytes, signatures: Sequence[Signature]) -> bytes:
    if not signatures:
        return json
    key: dict[str, Any] = orjson.loads(json)
    merged = key.setdefault("signatures", {})
    for one in signatures:
        merged.setdefault(one.signer_id, {})[one.signing_key] = one.signature
    return orjson.dumps(key)
