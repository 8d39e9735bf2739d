"""Sessions with keys: those of a device, one-time and fallback keys, and cross-signing. The signatures are real."""

import uuid
from collections.abc import Mapping
from typing import Any

from canonicaljson import encode_canonical_json
from nacl.signing import SigningKey
from unpaddedbase64 import encode_base64

from tests.integration.federation.peers import PASSWORD, User

ALGORITHM = "signed_curve25519"
CROSS_SIGNING = ("master_key", "self_signing_key", "user_signing_key")


class Device:
    """A session of a user, and its keys. `upload` makes others see them."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.user_id = user.user_id
        self.device_id: str = user.get("/account/whoami")["device_id"]
        self.key = SigningKey.generate()

    def keys(self) -> Mapping[str, Any]:
        agreement = self.key.verify_key.to_curve25519_public_key().encode()
        return self.signed(
            {
                "user_id": self.user_id,
                "device_id": self.device_id,
                "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
                "keys": {
                    f"ed25519:{self.device_id}": encode_base64(self.key.verify_key.encode()),
                    f"curve25519:{self.device_id}": encode_base64(agreement),
                },
            }
        )

    def upload(self, one_time: int = 0, fallback: bool = False) -> "Device":
        """With so many one-time keys."""
        body: dict[str, Any] = {"device_keys": self.keys()}
        names = [f"{ALGORITHM}:{uuid.uuid4().hex[:10]}" for _ in range(one_time)]
        body["one_time_keys"] = {name: self.signed({"key": random_key()}) for name in names}
        if fallback:
            key = self.signed({"key": random_key(), "fallback": True})
            body["fallback_keys"] = {f"{ALGORITHM}:fallback": key}
        self.user.post("/keys/upload", body)
        return self

    def signed(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        return signed(value, self.user_id, f"ed25519:{self.device_id}", self.key)

    def rename(self, name: str) -> None:
        self.user.put(f"/devices/{self.device_id}", {"display_name": name})

    def log_out(self) -> None:
        self.user.post("/logout")


class CrossSigning:
    """The three keys of a user."""

    def __init__(self, user: User) -> None:
        self._user = user
        self._keys = {name: SigningKey.generate() for name in CROSS_SIGNING}

    def upload(self) -> "CrossSigning":
        body: dict[str, Any] = {name: self.public(name) for name in CROSS_SIGNING}
        answer = self._user.call("POST", "/keys/device_signing/upload", body)
        if answer.status == 401:
            identifier = {"type": "m.id.user", "user": self._user.user_id}
            session = answer.json["session"]
            login = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
            answer = self._user.call(
                "POST", "/keys/device_signing/upload", {**body, "auth": {**login, "session": session}}
            )
        answer.ok()
        return self

    def public(self, name: str) -> Mapping[str, Any]:
        """One of them as it is published."""
        text = encode_base64(self._keys[name].verify_key.encode())
        usage = name.removesuffix("_key")
        value = {"user_id": self._user.user_id, "usage": [usage], "keys": {f"ed25519:{text}": text}}
        return value if name == "master_key" else self._signed(value, "master_key")

    def sign(self, device: Device) -> Mapping[str, Any]:
        """Sign a device, and say so to the server. The keys as they were signed."""
        bare = {name: item for name, item in device.keys().items() if name != "signatures"}
        value = self._signed(bare, "self_signing_key")
        answer = self._user.post("/keys/signatures/upload", {self._user.user_id: {device.device_id: value}})
        if answer.get("failures"):
            raise AssertionError(answer)
        return value

    def _signed(self, value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        public = encode_base64(self._keys[name].verify_key.encode())
        return signed(value, self._user.user_id, f"ed25519:{public}", self._keys[name])


def another_session(user: User) -> User:
    """The same user logs in once more."""
    identifier = {"type": "m.id.user", "user": user.user_id}
    body = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
    token = User(user.peer, user.user_id, "").post("/login", body)["access_token"]
    return User(user.peer, user.user_id, token)


def random_key() -> str:
    return encode_base64(SigningKey.generate().verify_key.encode())


def signed(value: Mapping[str, Any], user_id: str, key_id: str, key: SigningKey) -> Mapping[str, Any]:
    signature = encode_base64(key.sign(encode_canonical_json(dict(value))).signature)
    return {**value, "signatures": {user_id: {key_id: signature}}}
