"""Making accounts with the server's registration secret, in the way that Synapse's register_new_matrix_user does.

The client asks for a nonce, and proves with it that it knows the secret: HMAC-SHA1, keyed by the secret, over the
nonce, the user name, the password, "admin" or "notadmin", and perhaps the type of user, with U+0000 between them.
"""

import hashlib
import hmac
from collections import OrderedDict

from popcube_server.services.accounts.register_account import NewAccount, RegisterAccount
from popcube_server.services.auth.start_session import DeviceChoice, NewTokens, SessionOwner, StartSession
from popcube_server.services.errors import InvalidParam, NotAllowed, WithCode
from popcube_server.services.platform import Platform
from synapse_like_config.lazy_dataclasses import dataclass

NONCE_LENGTH = 20
NONCE_LIFETIME_MS = 60_000
MAX_PASSWORD_CHARACTERS = 512


@dataclass(frozen=True, slots=True)
class SharedSecretRequest:
    """What the client sent."""

    nonce: str
    name: str
    password: str
    display_name: str | None
    is_admin: bool
    user_type: str | None
    mac: str


class SharedSecretRegistration:
    """Takes registrations from whoever knows the secret; there are none without one."""

    def __init__(
        self,
        secret: str | None,
        platform: Platform,
        register_account: RegisterAccount,
        start_session: StartSession,
    ) -> None:
        self._secret = secret
        self._platform = platform
        self._register_account = register_account
        self._start_session = start_session
        # Nonces used within their lifetime, by people who know the secret, and when. Strangers cannot fill this:
        # a nonce that was given out is kept nowhere, it is signed.
        self._used: OrderedDict[str, int] = OrderedDict()

    def make_nonce(self) -> str:
        made = f"{self._platform.now_ms()}.{self._platform.random_letters(NONCE_LENGTH)}"
        return f"{made}.{_signature(self._get_secret(), made)}"

    async def register(self, request: SharedSecretRequest) -> NewTokens:
        """Make the account and log in. Raises `NotAllowed` if the proof is wrong."""
        secret = self._get_secret()
        self._check_nonce(secret, request.nonce)
        for text in (request.name, request.password, request.user_type or ""):
            # U+0000 separates the parts of what the proof is made over.
            if "\0" in text or len(text) > MAX_PASSWORD_CHARACTERS:
                raise InvalidParam("A name or password is too long or contains U+0000.")
        if not hmac.compare_digest(shared_secret_mac(secret, request), request.mac.encode()):
            raise NotAllowed("The HMAC is wrong.")
        self._used[request.nonce] = self._platform.now_ms()
        user_id = self._register_account.check_possible(request.name)
        owner = SessionOwner(user_id, self._start_session.position, request.is_admin)
        session = self._start_session.prepare(owner, DeviceChoice(None, None, False))
        await self._register_account.register(
            NewAccount(
                user_id,
                request.password,
                request.display_name,
                is_admin=request.is_admin,
                user_type=request.user_type,
            ),
            *session.changes,
        )
        self._start_session.began(session)
        return session.tokens

    def _check_nonce(self, secret: str, nonce: str) -> None:
        now_ms = self._platform.now_ms()
        while self._used and now_ms - next(iter(self._used.values())) > NONCE_LIFETIME_MS:
            self._used.popitem(last=False)
        made, _, signature = nonce.rpartition(".")
        is_ours = hmac.compare_digest(_signature(secret, made).encode(), signature.encode())
        # What we signed begins with a time.
        is_fresh = is_ours and now_ms - int(made.partition(".")[0]) <= NONCE_LIFETIME_MS
        if not is_fresh or nonce in self._used:
            raise WithCode(400, "M_UNKNOWN", "The nonce is not known, or has expired: get a new one.")

    def _get_secret(self) -> str:
        if self._secret is None:
            raise WithCode(
                400, "M_UNKNOWN", "Registration with a shared secret is not enabled on this server."
            )
        return self._secret


def _signature(secret: str, made: str) -> str:
    return hmac.new(secret.encode(), f"nonce {made}".encode(), hashlib.sha256).hexdigest()


def shared_secret_mac(secret: str, request: SharedSecretRequest) -> bytes:
    """The proof, in hexadecimal."""
    parts = [request.nonce, request.name, request.password, "admin" if request.is_admin else "notadmin"]
    if request.user_type is not None:
        parts.append(request.user_type)
    content = "\0".join(parts).encode()
    return hmac.new(secret.encode(), content, hashlib.sha1).hexdigest().encode()
