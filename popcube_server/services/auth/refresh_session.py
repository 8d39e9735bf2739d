"""New tokens for old: a chain of generations, in which the old pair is good until the new one is first used."""

from popcube_server.services.auth.authenticator import is_current
from popcube_server.services.auth.session_tokens import Purpose, SessionTokens, TokenClaims
from popcube_server.services.auth.start_session import (
    NONCE_LENGTH,
    IssueTokens,
    NewTokens,
    SessionGeneration,
)
from popcube_server.services.errors import UnknownToken, UserLocked
from popcube_server.services.platform import Platform
from storage.accounts import AccountRow, AccountsRepository
from storage.change import Change
from storage.committer import Committer
from storage.database import Database, Transaction
from storage.sessions import IssueNextTokens, SessionRow, SessionsRepository, UseNextTokens


class RefreshSession:
    def __init__(
        self,
        platform: Platform,
        tokens: SessionTokens,
        issue_tokens: IssueTokens,
        database: Database,
        committer: Committer,
    ) -> None:
        self._platform = platform
        self._tokens = tokens
        self._issue_tokens = issue_tokens
        self._database = database
        self._committer = committer
        self._accounts = AccountsRepository()
        self._sessions = SessionsRepository()

    async def refresh(self, refresh_token: str) -> NewTokens:
        """The next tokens of the session. Raises `UnknownToken`."""
        claims = self._tokens.read(refresh_token)
        if claims is None or claims.purpose is not Purpose.REFRESH:
            raise UnknownToken("The refresh token is not known.")
        session, account = await self._database.read(lambda tx: self._read(tx, claims))
        if session is None or account is None or account.is_deactivated or not is_current(claims, session):
            raise UnknownToken("The refresh token is not known, or was used already.")
        if claims.until_ms is not None and claims.until_ms <= self._platform.now_ms():
            raise UnknownToken("The refresh token has expired.", soft_logout=True)
        if account.is_locked:
            raise UserLocked("This account is locked.", soft_logout=True)
        return await self._advance(claims, session)

    async def _advance(self, claims: TokenClaims, session: SessionRow) -> NewTokens:
        nonce = self._platform.random_letters(NONCE_LENGTH)
        changes: list[Change] = []
        if claims.nonce == session.next_nonce:
            # Using the new refresh token, like using the new access token, makes the old pair void.
            changes.append(UseNextTokens(session.session_id, session.user_id, claims.nonce))
        # A client that did not get the answer asks again with the same token; what it did not get is void then.
        changes.append(IssueNextTokens(session.session_id, session.user_id, claims.generation, nonce))
        committed = await self._committer.commit(*changes)
        if committed.results[-1] is not True:
            raise UnknownToken("The refresh token was used already.")
        of = SessionGeneration(
            session.user_id,
            session.device_id,
            session.session_id,
            session.created_ms,
            claims.generation + 1,
            nonce,
        )
        return self._issue_tokens.issue(of, is_refreshable=True)

    def _read(self, tx: Transaction, claims: TokenClaims) -> tuple[SessionRow | None, AccountRow | None]:
        session = self._sessions.find(tx, claims.session_id)
        if session is None or session.user_id != claims.user_id:
            return None, None
        return session, self._accounts.find(tx, session.user_id)
