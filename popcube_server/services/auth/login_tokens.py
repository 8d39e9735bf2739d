"""Login tokens: a client that is logged in lets another one of the same user in."""

import hashlib

from popcube_server.services.errors import NotAllowed
from popcube_server.services.platform import Platform
from storage.committer import Committer
from storage.login_tokens import CreateLoginToken, TakeLoginToken

TOKEN_LENGTH = 32


class LoginTokens:
    """Makes and takes them; only digests are stored."""

    def __init__(self, platform: Platform, committer: Committer, lifetime_ms: int) -> None:
        self._platform = platform
        self._committer = committer
        self.lifetime_ms = lifetime_ms

    async def make(self, user_id: str) -> str:
        token = self._platform.random_letters(TOKEN_LENGTH)
        now_ms = self._platform.now_ms()
        await self._committer.commit(
            CreateLoginToken(_digest(token), user_id, now_ms, now_ms + self.lifetime_ms)
        )
        return token

    async def take(self, token: str) -> str:
        """The user whose token it is, once. Raises `NotAllowed`."""
        committed = await self._committer.commit(TakeLoginToken(_digest(token), self._platform.now_ms()))
        user_id = committed.results[0]
        if not isinstance(user_id, str):
            raise NotAllowed("The login token cannot be used.")
        return user_id


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
