"""What each stop of the tour is given."""

import base64
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from nacl.signing import SigningKey

from tests.support.configuration import REGISTRATION_SECRET
from tests.support.http_client import MatrixClient

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Visit:
    """A running server. `open_client` makes a client without a user."""

    open_client: Callable[[], MatrixClient]

    def user(self, name: str) -> MatrixClient:
        """A new account, logged in."""
        return self.open_client().register(name, PASSWORD)

    def pair_in_room(self, first: str, second: str, **options: Any) -> tuple[MatrixClient, MatrixClient, str]:
        """Two new accounts and a public room of the first, which both have joined."""
        owner, guest = self.user(first), self.user(second)
        room_id = owner.create_room(preset="public_chat", **options)
        guest.post(f"/rooms/{quote(room_id)}/join").expect(200)
        return owner, guest, room_id


Stop = Callable[[Visit], None]


def register_admin(visit: Visit, username: str) -> MatrixClient:
    """A new account that administers the server, made as an operator's script does, with the shared secret."""
    admin = visit.open_client()
    path = "/_synapse/admin/v1/register"
    nonce = admin.get(path).expect(200)["nonce"]
    text = "\0".join((nonce, username, PASSWORD, "admin"))
    mac = hmac.new(REGISTRATION_SECRET.encode(), text.encode(), "sha1").hexdigest()
    body = {"nonce": nonce, "username": username, "password": PASSWORD, "admin": True, "mac": mac}
    session = admin.post(path, body).expect(200)
    admin.access_token, admin.user_id = session["access_token"], session["user_id"]
    return admin


def with_password(user: MatrixClient, method: str, path: str, body: Mapping[str, Any]) -> Any:
    """Do what needs interactive authentication, by the password; the answer."""
    challenge = user.request(method, path, body).expect(401)
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user.user_id},
        "password": PASSWORD,
        "session": challenge["session"],
    }
    return user.request(method, path, {**body, "auth": auth}).expect(200)


def unpadded(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def signed(value: Mapping[str, Any], user_id: str, key_id: str, key: SigningKey) -> dict[str, Any]:
    """The object with one more signature, by the rules of signing JSON. Only for ASCII and whole numbers."""
    bare = {name: item for name, item in value.items() if name not in ("signatures", "unsigned")}
    text = json.dumps(bare, sort_keys=True, separators=(",", ":"))
    signature = unpadded(key.sign(text.encode()).signature)
    signatures = {user: dict(keys) for user, keys in value.get("signatures", {}).items()}
    signatures.setdefault(user_id, {})[key_id] = signature
    return {**value, "signatures": signatures}
