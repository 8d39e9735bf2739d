"""Registration tokens, as somebody who registers meets them."""

import re
from collections.abc import Callable

from storage.committer import Committer
from storage.database import Database
from storage.registration_tokens import RegistrationTokensRepository, ReserveRegistrationToken, TokenUsedUp

# Specification, "Token-authenticated registration": the opaque identifier grammar, at most 64 characters.
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{1,64}")


class RegistrationTokens:
    """Says whether tokens are usable, and reserves uses of them."""

    def __init__(self, database: Database, committer: Committer, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._committer = committer
        self._now_ms = now_ms
        self._tokens = RegistrationTokensRepository()

    async def is_usable(self, token: str) -> bool:
        if not _TOKEN.fullmatch(token):
            return False
        now_ms = self._now_ms()
        row = await self._database.read(lambda tx: self._tokens.find(tx, token, now_ms))
        return row is not None and row.is_usable(now_ms)

    async def reserve(self, token: str, session_id: str, expires_ms: int) -> bool:
        """Take one use for a session of interactive authentication; False if there is none."""
        if not _TOKEN.fullmatch(token):
            return False
        try:
            await self._committer.commit(
                ReserveRegistrationToken(token, session_id, self._now_ms(), expires_ms)
            )
        except TokenUsedUp:
            return False
        return True
