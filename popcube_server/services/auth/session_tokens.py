"""Access and refresh tokens: macaroons, so that whoever knows the secret can check them without a database.

A token holds, in this order: what it is for, whose it is, the session, the generation and the nonce within the
session, and when it ends (0: never). The session's row says whether it was revoked.
"""

import binascii
from dataclasses import dataclass
from enum import Enum

from pymacaroons import Macaroon, Verifier
from pymacaroons.exceptions import MacaroonException

MAX_TOKEN_LENGTH = 2048
_KEY_ID = "popcube"
_NAMES = ("for", "user", "session", "generation", "nonce", "until")


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
        self._secret = secret

    def make(self, claims: TokenClaims) -> str:
        macaroon = Macaroon(location=self._server_name, identifier=_KEY_ID, key=self._secret)
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
            macaroon = Macaroon.deserialize(token)
            if macaroon.location != self._server_name:
                return None
            verifier = Verifier()
            verifier.satisfy_general(lambda predicate: True)
            verifier.verify(macaroon, self._secret)
        except (MacaroonException, binascii.Error, ValueError, LookupError, TypeError, AttributeError):
            return None
        # Whoever holds a macaroon can append to it: just what `make` put in counts, and nothing after it.
        return _claims([caveat.caveat_id for caveat in macaroon.caveats])


def _claims(caveats: list[str]) -> TokenClaims | None:
    if len(caveats) != len(_NAMES):
        return None
    values = []
    for name, caveat in zip(_NAMES, caveats, strict=True):
        prefix = f"{name} = "
        if not caveat.startswith(prefix):
            return None
        values.append(caveat[len(prefix) :])
    purpose, user_id, session_id, generation, nonce, until_ms = values
    return TokenClaims(Purpose(purpose), user_id, session_id, int(generation), nonce, int(until_ms) or None)
