"""Password hashes: argon2id for what we write, bcrypt too for what Synapse wrote."""

import base64
import hashlib
import hmac
import unicodedata

import bcrypt
from argon2 import DEFAULT_HASH_LENGTH, DEFAULT_RANDOM_SALT_LENGTH, PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION, Type

from popcube_server.services.auth.password_policy import MAX_PASSWORD_CHARACTERS
from popcube_server.services.platform import Platform
from synapse_like_config.popcube import Argon2Config

BCRYPT_MAX_BYTES = 72


class Passwords:
    """Makes and checks hashes. They are meant to be slow, so that is done on threads."""

    def __init__(self, platform: Platform, cost: Argon2Config, pepper: str | None) -> None:
        self._platform = platform
        self._pepper = pepper or ""
        self._hasher = PasswordHasher(
            time_cost=cost.time_cost,
            memory_cost=cost.memory_bytes // 1024,
            parallelism=cost.parallelism,
            type=Type.ID,
        )
        # Checked when there is no account, so that the answer takes as long as if there were one.
        self._nobody = encode_hash(
            cost,
            platform.random_bytes(DEFAULT_RANDOM_SALT_LENGTH),
            platform.random_bytes(DEFAULT_HASH_LENGTH),
        )
        self._usual_form = _form(self._nobody)

    async def hash(self, password: str) -> str:
        return await self._platform.in_thread(lambda: self.hash_here(password))

    def hash_here(self, password: str) -> str:
        """`hash` on the calling thread, which is not the reactor's."""
        return self._hasher.hash(self._prepared(password))

    def is_outdated(self, password_hash: str) -> bool:
        """Whether a new hash of the same password would be a better one."""
        if _form(password_hash) == self._usual_form:
            # Nearly every hash there is: nothing has to be read out of it.
            return False
        return not password_hash.startswith("$argon2id$") or self._hasher.check_needs_rehash(password_hash)

    def is_right(self, password: str, password_hash: str | None) -> bool:
        """Whether the hash is of this password. Takes as long if there is no hash, and always long: for threads."""
        if len(password) > MAX_PASSWORD_CHARACTERS:
            # Nobody has such a password, and it could take long to hash.
            password, password_hash = "", None
        if password_hash is not None and password_hash.startswith("$2"):
            return self._is_right_bcrypt(password, password_hash)
        try:
            right = self._hasher.verify(password_hash or self._nobody, self._prepared(password))
        except (VerificationError, InvalidHashError):
            return False
        return right and password_hash is not None

    def _is_right_bcrypt(self, password: str, password_hash: str) -> bool:
        # COMPAT: Synapse hashes the NFKC form with the pepper behind it, of which bcrypt takes 72 bytes.
        secret = (unicodedata.normalize("NFKC", password) + self._pepper).encode()[:BCRYPT_MAX_BYTES]
        try:
            return bcrypt.checkpw(secret, password_hash.encode())
        except ValueError:
            return False

    def _prepared(self, password: str) -> bytes:
        secret = unicodedata.normalize("NFKC", password).encode()
        if self._pepper:
            return hmac.new(self._pepper.encode(), secret, hashlib.sha256).digest()
        return secret


def encode_hash(cost: Argon2Config, salt: bytes, digest: bytes) -> str:
    """A hash as argon2 writes it. That of a password would take as long to make as a login, at each start."""
    costs = f"m={cost.memory_bytes // 1024},t={cost.time_cost},p={cost.parallelism}"
    shown = (base64.b64encode(part).decode().rstrip("=") for part in (salt, digest))
    return "$".join(("", "argon2id", f"v={ARGON2_VERSION}", costs, *shown))


def _form(password_hash: str) -> tuple[str, ...]:
    """What two hashes of argon2 have in common that were made at the same cost; of others, something else."""
    costs, *parts = password_hash.rsplit("$", 2)
    return (costs, *(str(len(part)) for part in parts))
