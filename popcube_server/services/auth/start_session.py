"""Log a user in on a device: a session, and the first tokens."""

import re
from typing import Protocol

from popcube_server.services.auth.session_tokens import Purpose, SessionTokens, TokenClaims
from popcube_server.services.auth.token_cache import KnownToken
from popcube_server.services.errors import InvalidParam
from popcube_server.services.platform import Platform
from popcube_server.services.requester import Requester
from storage.accounts import AccountRow
from storage.change import Change
from storage.committer import Committer
from storage.devices import AddDevice
from storage.sessions import CreateSession, EndSessionsOfDevice
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.sessions import SessionsSection

DEVICE_ID_LENGTH = 10
SESSION_ID_LENGTH = 20
NONCE_LENGTH = 12
MAX_DEVICE_ID_BYTES = 255
MAX_DISPLAY_NAME_CHARACTERS = 100
_DEVICE_ID = re.compile(r"[^\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """What the client said about its device. `is_refreshable`: it understands refresh tokens."""

    device_id: str | None
    display_name: str | None
    is_refreshable: bool


@dataclass(frozen=True, slots=True)
class NewTokens:
    """What a client gets. `refresh_token` and `expires_in_ms` are None if there is none and it does not end."""

    user_id: str
    device_id: str
    access_token: str
    refresh_token: str | None
    expires_in_ms: int | None
    until_ms: int | None
    """When the access token ends."""


class TokenLifetimes:
    """How long new tokens are good for."""

    def __init__(self, section: SessionsSection) -> None:
        self._session_ms = section.session_lifetime_ms
        self._refreshable_ms = section.refreshable_access_token_lifetime_ms
        self._refresh_ms = section.refresh_token_lifetime_ms
        self._plain_ms = section.nonrefreshable_access_token_lifetime_ms

    @property
    def has_refresh_tokens(self) -> bool:
        return self._refreshable_ms is not None

    def access_until_ms(self, now_ms: int, started_ms: int, is_refreshable: bool) -> int | None:
        return self._until(now_ms, started_ms, self._refreshable_ms if is_refreshable else self._plain_ms)

    def refresh_until_ms(self, now_ms: int, started_ms: int) -> int | None:
        return self._until(now_ms, started_ms, self._refresh_ms)

    def _until(self, now_ms: int, started_ms: int, lifetime_ms: int | None) -> int | None:
        ends = [now_ms + lifetime_ms] if lifetime_ms is not None else []
        if self._session_ms is not None:
            ends.append(started_ms + self._session_ms)
        return min(ends, default=None)


@dataclass(frozen=True, slots=True)
class SessionGeneration:
    """What the tokens to be made belong to."""

    user_id: str
    device_id: str
    session_id: str
    started_ms: int
    generation: int
    nonce: str


class IssueTokens:
    """Makes the tokens of one generation of a session."""

    def __init__(self, platform: Platform, tokens: SessionTokens, lifetimes: TokenLifetimes) -> None:
        self._platform = platform
        self._tokens = tokens
        self._lifetimes = lifetimes

    def issue(self, of: SessionGeneration, is_refreshable: bool) -> NewTokens:
        is_refreshable = is_refreshable and self._lifetimes.has_refresh_tokens
        now_ms = self._platform.now_ms()
        until_ms = self._lifetimes.access_until_ms(now_ms, of.started_ms, is_refreshable)
        refresh_until_ms = self._lifetimes.refresh_until_ms(now_ms, of.started_ms)
        return NewTokens(
            of.user_id,
            of.device_id,
            self._make(of, Purpose.ACCESS, until_ms),
            self._make(of, Purpose.REFRESH, refresh_until_ms) if is_refreshable else None,
            None if until_ms is None else until_ms - now_ms,
            until_ms,
        )

    def _make(self, of: SessionGeneration, purpose: Purpose, until_ms: int | None) -> str:
        return self._tokens.make(
            TokenClaims(purpose, of.user_id, of.session_id, of.generation, of.nonce, until_ms)
        )


@dataclass(frozen=True, slots=True)
class SessionOwner:
    """Whose session it is to be, and what is known of the account."""

    user_id: str
    since: int
    """What `StartSession.position` was before that was read."""
    is_admin: bool = False
    is_guest: bool = False
    is_locked: bool = False
    is_suspended: bool = False


@dataclass(frozen=True, slots=True)
class PreparedSession:
    """A session that is not on disk yet."""

    changes: tuple[Change, ...]
    tokens: NewTokens
    requester: Requester
    """Who asks with the access token."""
    since: int


class NewTokensKnown(Protocol):
    """Who checks access tokens, and need not look up those that were made here a moment ago."""

    @property
    def position(self) -> int: ...

    def expect(self, token: str, known: KnownToken, since: int) -> None: ...


class StartSession:
    """Starts sessions. Whether the user may log in was decided before."""

    def __init__(
        self, platform: Platform, committer: Committer, issue_tokens: IssueTokens, known: NewTokensKnown
    ) -> None:
        self._platform = platform
        self._committer = committer
        self._issue_tokens = issue_tokens
        self._known = known

    @property
    def position(self) -> int:
        """To be asked before an account is read of which a session is to be: `SessionOwner.since`."""
        return self._known.position

    async def start(self, account: AccountRow, since: int, device: DeviceChoice) -> NewTokens:
        """The tokens of a new session. `since`: what `position` was before the account was read."""
        owner = SessionOwner(
            account.user_id,
            since,
            account.is_admin,
            account.is_guest,
            account.is_locked,
            account.is_suspended,
        )
        prepared = self.prepare(owner, device)
        await self._committer.commit(*prepared.changes)
        self.began(prepared)
        return prepared.tokens

    def prepare(self, owner: SessionOwner, device: DeviceChoice) -> PreparedSession:
        """A session that begins once its changes are committed, for those who commit more with it."""
        check_device(device)
        user_id = owner.user_id
        # Drawn together: each drawing asks the system.
        drawn = self._platform.random_letters(DEVICE_ID_LENGTH + SESSION_ID_LENGTH + NONCE_LENGTH)
        session_id, nonce = drawn[:SESSION_ID_LENGTH], drawn[SESSION_ID_LENGTH:][:NONCE_LENGTH]
        device_id = device.device_id or drawn[-DEVICE_ID_LENGTH:].upper()
        now_ms = self._platform.now_ms()
        changes: list[Change] = [AddDevice(user_id, device_id, device.display_name, now_ms)]
        if device.device_id is not None:
            # Logging in with an existing device ID ends the tokens that were there for it.
            changes.append(EndSessionsOfDevice(user_id, device_id, now_ms))
        changes.append(CreateSession(session_id, user_id, device_id, now_ms, nonce))
        tokens = self._issue_tokens.issue(
            SessionGeneration(user_id, device_id, session_id, now_ms, 0, nonce), device.is_refreshable
        )
        requester = Requester(
            user_id,
            device_id,
            session_id,
            owner.is_admin,
            owner.is_guest,
            owner.is_locked,
            owner.is_suspended,
        )
        return PreparedSession(tuple(changes), tokens, requester, owner.since)

    def began(self, session: PreparedSession) -> None:
        """Its changes are committed."""
        known = KnownToken(session.requester, session.tokens.until_ms)
        self._known.expect(session.tokens.access_token, known, session.since)


def check_device(device: DeviceChoice) -> None:
    """Raise what is wrong with the client's wishes."""
    if device.device_id is not None:
        _check_device_id(device.device_id)
    check_device_name(device.display_name)


def _check_device_id(device_id: str) -> None:
    if len(device_id.encode()) > MAX_DEVICE_ID_BYTES or not _DEVICE_ID.fullmatch(device_id):
        raise InvalidParam("The device ID must have 1 to 255 bytes and no control characters.")


def check_device_name(display_name: str | None) -> None:
    if display_name is not None and len(display_name) > MAX_DISPLAY_NAME_CHARACTERS:
        raise InvalidParam(f"A device's name may have at most {MAX_DISPLAY_NAME_CHARACTERS} characters.")
