"""Turns an access token into its owner."""

from collections.abc import Callable, Sequence

from popcube_server.services.accounts.device_sightings import DeviceSightings
from popcube_server.services.auth.recent_changes import RecentChanges
from popcube_server.services.auth.session_tokens import Purpose, SessionTokens, TokenClaims
from popcube_server.services.auth.token_cache import KnownToken, TokenCache
from popcube_server.services.errors import UnknownToken
from popcube_server.services.requester import Requester
from storage.accounts import AccountRow, CreateAccount
from storage.change import LogEntry
from storage.committer import Committer
from storage.database import Database
from storage.sessions import CreateSession, SessionRow, SessionsRepository, UseNextTokens

# Kinds of log entries, whose key begins with the user, that say that what is known of a token may be wrong now.
_KINDS = frozenset(("account", "account_deactivated", "session"))
REMEMBERED_CHANGES = 10_000
"""Of so many users, while something is read. Far more than change meanwhile."""


class TokenAuthenticator:
    """Checks access tokens. Owns the cache of those that are good, kept true by following the log."""

    def __init__(
        self,
        tokens: SessionTokens,
        cache: TokenCache,
        sightings: DeviceSightings,
        database: Database,
        committer: Committer,
        now_ms: Callable[[], int],
    ) -> None:
        self._tokens = tokens
        self._cache = cache
        self._sightings = sightings
        self._database = database
        self._committer = committer
        self._now_ms = now_ms
        self._sessions = SessionsRepository()
        self._changes = RecentChanges(REMEMBERED_CHANGES)
        self._position = 0

    @property
    def position(self) -> int:
        """How far it has followed the log: what is read from now on of accounts is as new as that, or newer."""
        return self._position

    def follow(self, entries: Sequence[LogEntry]) -> None:
        """Forget what changed; to be called with the log's entries."""
        for entry in entries:
            # A new session changes nothing of what is known of the others, nor a new account of anybody.
            if entry.kind in _KINDS and not isinstance(entry.change, CreateSession | CreateAccount):
                self._cache.drop_user(entry.key[0])
                self._changes.note(entry.key[0], entry.position)
        self._position = entries[-1].position

    def expect(self, token: str, known: KnownToken, since: int) -> None:
        """Know a token that was made just now, so that its first use costs no read.

        Its session is committed, and what `known` says of the account was read when `position` was `since`.
        """
        # If something changed since, what was read may be old: not to be kept.
        if not self._changes.may_have_changed(known.requester.user_id, since):
            self._cache.put(token, known)

    def find_requester(self, token: str) -> Requester | None:
        """The owner, if the token was used lately."""
        return self._cache.find(token, self._now_ms())

    def saw(self, requester: Requester, client_address: str, user_agent: str) -> None:
        """Note when the device was seen last."""
        self._sightings.saw(requester, client_address, user_agent)

    async def get_requester(self, token: str) -> Requester:
        """The owner. Raises `UnknownToken`, softly if the session could go on with a new token."""
        claims = self._tokens.read(token)
        if claims is None or claims.purpose is not Purpose.ACCESS:
            raise UnknownToken("The access token is not known.")
        since = self._position
        found = await self._database.ask(lambda tx: self._sessions.find_with_account(tx, claims.session_id))
        if found is None:
            raise _logged_out()
        session, account = found
        if session.user_id != claims.user_id or account.is_deactivated or not is_current(claims, session):
            raise _logged_out()
        if claims.until_ms is not None and claims.until_ms <= self._now_ms():
            raise UnknownToken("The access token has expired.", soft_logout=True)
        if claims.nonce == session.next_nonce:
            # The first use of a new token makes the ones before it void.
            await self._committer.commit(UseNextTokens(session.session_id, session.user_id, claims.nonce))
            # The session may have ended, or the account changed, while that was written: look again.
            return await self.get_requester(token)
        requester = _requester(session, account)
        self.expect(token, KnownToken(requester, claims.until_ms), since)
        return requester


def is_current(claims: TokenClaims, session: SessionRow) -> bool:
    """Whether a token is of the session's present generation, or of the next one."""
    if claims.generation == session.generation:
        return claims.nonce == session.nonce
    return claims.generation == session.generation + 1 and claims.nonce == session.next_nonce


def _logged_out() -> UnknownToken:
    return UnknownToken("The access token is not known, or was logged out.")


def _requester(session: SessionRow, account: AccountRow) -> Requester:
    return Requester(
        session.user_id,
        session.device_id,
        session.session_id,
        account.is_admin,
        account.is_guest,
        account.is_locked,
        account.is_suspended,
    )
