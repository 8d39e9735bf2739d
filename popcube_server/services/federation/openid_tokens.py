"""Tokens by which users prove to a third party who they are. Source: client-server API, "OpenID"."""

from hashlib import sha256
from typing import Final

from popcube_server.services.errors import NotAllowed, UnknownToken
from popcube_server.services.platform import Platform
from popcube_server.services.requester import Requester
from storage.committer import Committer
from storage.database import Database
from storage.openid import AddOpenIdToken, OpenIdRepository

LIFETIME_S: Final = 3600
TOKEN_LETTERS: Final = 40


class OpenIdTokens:
    def __init__(self, database: Database, committer: Committer, platform: Platform) -> None:
        self._database = database
        self._committer = committer
        self._platform = platform
        self._repository = OpenIdRepository()

    async def request(self, requester: Requester, user_id: str) -> str:
        """A new token. Raises `NotAllowed` for other users."""
        if requester.user_id != user_id:
            raise NotAllowed("You can ask only for a token of your own.")
        token, now_ms = self._platform.random_letters(TOKEN_LETTERS), self._platform.now_ms()
        await self._committer.commit(
            AddOpenIdToken(_digest(token), user_id, now_ms + LIFETIME_S * 1000, now_ms)
        )
        return token

    async def get_user(self, token: str) -> str:
        """Whose token it is. Raises `UnknownToken`."""
        now_ms = self._platform.now_ms()
        user_id = await self._database.read(lambda tx: self._repository.find_user(tx, _digest(token), now_ms))
        if user_id is None:
            raise UnknownToken("The token is unknown or has expired.")
        return user_id


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
