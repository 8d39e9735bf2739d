"""The base of tests of end-to-end encryption: devices with real keys, and answers checked against the specification."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from nacl.signing import SigningKey

from federation.room_dag.base64 import encode_base64
from federation.room_dag.signing import json_signed_bytes
from tests.popcube_server.server_case import ServerTestCase, TestUser
from tests.support.openapi import specification

V3 = "/_matrix/client/v3"
SIGNED = "signed_curve25519"


def signing_key(name: str) -> SigningKey:
    """A key of its own for each name."""
    return SigningKey(sha256(name.encode()).digest())


def public_key(name: str) -> str:
    return encode_base64(bytes(signing_key(name).verify_key))


def signature(value: Mapping[str, Any], name: str) -> str:
    return encode_base64(signing_key(name).sign(json_signed_bytes(value)).signature)


def signed(value: Mapping[str, Any], user_id: str, key_id: str, name: str) -> dict[str, Any]:
    """A copy with the signature by the key called `name` added."""
    signatures = {user: dict(of) for user, of in value.get("signatures", {}).items()}
    signatures.setdefault(user_id, {})[f"ed25519:{key_id}"] = signature(value, name)
    return {**value, "signatures": signatures}


class KeysTestCase(ServerTestCase):
    def checked(self, method: str, path: str, body: Any, user: TestUser, status: int = 200) -> Any:
        """Send a request that is as specified, and check that its answer is."""
        specification().validate_request(method, path, body)
        answer = self.call(method, path, body, user)
        specification().validate_response(method, path, answer[0], answer[1])
        self.assertEqual(answer[0], status, answer[1])
        return answer[1]

    def device_keys(self, user: TestUser, **others: Any) -> dict[str, Any]:
        """Identity keys of the user's device, signed."""
        device_id = user.device_id
        keys = {
            "user_id": user.user_id,
            "device_id": device_id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": {f"curve25519:{device_id}": "3C5BFWi2Y8MaVvjM8M22DBmh24PmgR0nPvJOIArzgyI"},
            **others,
        }
        keys["keys"][f"ed25519:{device_id}"] = public_key(device_id)
        return signed(keys, user.user_id, device_id, device_id)

    def one_time_keys(self, user: TestUser, *names: str, **others: Any) -> dict[str, Any]:
        return {
            f"{SIGNED}:{name}": signed(
                {"key": f"key{name}", **others}, user.user_id, user.device_id, user.device_id
            )
            for name in names
        }

    def given_device_keys(self, user: TestUser) -> dict[str, Any]:
        keys = self.device_keys(user)
        self.checked("POST", f"{V3}/keys/upload", {"device_keys": keys}, user)
        return keys

    def upload(self, user: TestUser, **body: Any) -> Mapping[str, int]:
        """The counts after an upload."""
        counts: Mapping[str, int] = self.checked("POST", f"{V3}/keys/upload", body, user)[
            "one_time_key_counts"
        ]
        return counts

    def query(self, user: TestUser, *others: TestUser) -> Any:
        body: Any = {"device_keys": {other.user_id: [] for other in others}}
        return self.checked("POST", f"{V3}/keys/query", body, user)

    def claim(self, user: TestUser, *devices: TestUser, algorithm: str = SIGNED) -> Any:
        """The claimed keys by user and device."""
        wanted: dict[str, dict[str, str]] = {}
        for device in devices:
            wanted.setdefault(device.user_id, {})[device.device_id] = algorithm
        answer = self.checked("POST", f"{V3}/keys/claim", {"one_time_keys": wanted}, user)
        self.assertEqual(answer["failures"], {})
        return answer["one_time_keys"]

    def cross_signing_key(
        self, user: TestUser, usage: str, name: str, master: str | None = None
    ) -> dict[str, Any]:
        """A key called `name`, signed by the master key called `master`."""
        key = {
            "user_id": user.user_id,
            "usage": [usage],
            "keys": {f"ed25519:{public_key(name)}": public_key(name)},
        }
        return key if master is None else signed(key, user.user_id, public_key(master), master)

    def cross_signing_keys(self, user: TestUser, prefix: str = "") -> dict[str, Any]:
        """A whole set; the keys are called by prefix, usage and user."""
        master = f"{prefix}master {user.user_id}"
        return {
            "master_key": self.cross_signing_key(user, "master", master),
            **{
                f"{usage}_key": self.cross_signing_key(user, usage, f"{prefix}{usage} {user.user_id}", master)
                for usage in ("self_signing", "user_signing")
            },
        }

    def given_cross_signing(self, user: TestUser) -> dict[str, Any]:
        keys = self.cross_signing_keys(user)
        self.checked("POST", f"{V3}/keys/device_signing/upload", keys, user)
        return keys
