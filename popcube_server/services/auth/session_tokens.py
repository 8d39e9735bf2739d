"""Access and refresh tokens: macaroons, so that whoever knows the secret can check them without a database.

A token holds, in this order: what it is for, whose it is, the session, the generation and the nonce within the
session, and when it ends (0: never). The session's row says whether it was revoked.

In macaroons' first format a token is, in base64, a row of packets: four hexadecimal digits of length, a key, a blank,
a value, a line feed. Reading is strict: what we would not write byte for byte is not ours. (Anybody may append
caveats to a macaroon; ours take none.)
"""

import hmac
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from enum import Enum

from pymacaroons import Macaroon

from synapse_like_config.lazy_dataclasses import dataclass

MAX_TOKEN_LENGTH = 2048
_KEY_ID = "popcube"
_NAMES = ("for", "user", "session", "generation", "nonce", "until")
_LENGTH_DIGITS = 4


class Purpose(Enum):
    ACCESS = "access"
    REFRESH = "refresh"


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a token says. `until_ms` of None: it does not end by itself."""

    purpose: Purpose
    user_id: str
    session_id: str
    generation: int
    nonce: str
    until_ms: int | None


class SessionTokens:
    """Makes tokens and reads them."""

    def __init__(self, server_name: str, secret: str) -> None:
        self._server_name = server_name
        # All tokens begin alike: two of the eight digests of each are always the same.
        self._beginning = Macaroon(location=server_name, identifier=_KEY_ID, key=secret).signature_bytes

    def make(self, claims: TokenClaims) -> str:
        macaroon = Macaroon(location=self._server_name, identifier=_KEY_ID, signature=self._beginning)
        values = (
            claims.purpose.value,
            claims.user_id,
            claims.session_id,
            str(claims.generation),
            claims.nonce,
            str(claims.until_ms or 0),
        )
        for name, value in zip(_NAMES, values, strict=True):
            macaroon.add_first_party_caveat(f"{name} = {value}")
        token: str = macaroon.serialize()
        return token

    def read(self, token: str) -> TokenClaims | None:
        """What the token says, or None if it was not made with our secret. Whether it has ended is not looked at."""
        if len(token) > MAX_TOKEN_LENGTH:
            return None
        try:
            claims = _claims(token)
        except ValueError:
            return None
        return claims if hmac.compare_digest(self.make(claims).encode(), token.encode()) else None


def _claims(token: str) -> TokenClaims:
    """What a token claims to say. Raises ValueError for what is no token."""
    data = urlsafe_b64decode(token.encode() + b"=" * (-len(token) % 4))
    caveats = [value.decode() for key, value in _packets(data) if key == b"cid"]
    values = []
    for name, caveat in zip(_NAMES, caveats, strict=True):
        values.append(caveat.removeprefix(f"{name} = "))
    purpose, user_id, session_id, generation, nonce, until_ms = values
    return TokenClaims(Purpose(purpose), user_id, session_id, int(generation), nonce, int(until_ms) or None)


def _packets(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    while data:
        length = int(data[:_LENGTH_DIGITS], 16)
        if not _LENGTH_DIGITS < length <= len(data):
            raise ValueError("a packet has no such length")
        key, _, value = data[_LENGTH_DIGITS : length - 1].partition(b" ")
        yield key, value
        data = data[length:]
