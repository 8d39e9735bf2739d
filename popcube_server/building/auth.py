"""Builds who is asking: tokens, sessions, passwords, logins, user-interactive authentication."""

from popcube_server.building.core import Core
from popcube_server.services.accounts.device_sightings import DeviceSightings
from popcube_server.services.auth.authenticator import TokenAuthenticator
from popcube_server.services.auth.check_password import CheckPassword
from popcube_server.services.auth.interactive_auth import InteractiveAuth
from popcube_server.services.auth.interactive_session import InteractiveSessions
from popcube_server.services.auth.login_bans import LoginBans
from popcube_server.services.auth.passwords import Passwords
from popcube_server.services.auth.registration_tokens import RegistrationTokens
from popcube_server.services.auth.session_tokens import SessionTokens
from popcube_server.services.auth.stages import DummyStage, PasswordStage, RegistrationTokenStage
from popcube_server.services.auth.start_session import IssueTokens, StartSession, TokenLifetimes
from popcube_server.services.auth.token_cache import TokenCache
from popcube_server.services.rate_limits import RateLimiter
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.ratelimits import RateLimit

INTERACTIVE_SESSION_ID_LENGTH = 24


@dataclass(frozen=True, slots=True)
class Auth:
    """What accounts are built from."""

    tokens: SessionTokens
    sightings: DeviceSightings
    authenticator: TokenAuthenticator
    passwords: Passwords
    check_password: CheckPassword
    registration_tokens: RegistrationTokens
    interactive_auth: InteractiveAuth
    issue_tokens: IssueTokens
    start_session: StartSession


def make_limiter(core: Core, limit: RateLimit) -> RateLimiter:
    return RateLimiter(limit, core.platform.now_s)


def build_auth(core: Core) -> Auth:
    config, platform = core.config, core.platform
    tokens = _build_tokens(core)
    sightings = DeviceSightings(platform, core.committer)
    passwords = Passwords(platform, config.popcube.argon2, config.passwords.password_config.pepper)
    check_password = CheckPassword(
        core.server_name,
        platform,
        core.database,
        core.committer,
        passwords,
        LoginBans(core.database, core.committer, core.log, platform.now_ms),
        make_limiter(core, config.rate_limits.rc_login.failed_attempts),
    )
    registration_tokens = RegistrationTokens(core.database, core.committer, platform.now_ms)
    interactive_auth = InteractiveAuth(
        InteractiveSessions(lambda: platform.random_letters(INTERACTIVE_SESSION_ID_LENGTH), platform.now_ms),
        (DummyStage(), PasswordStage(check_password), RegistrationTokenStage(registration_tokens)),
    )
    authenticator = _build_authenticator(core, tokens, sightings)
    issue_tokens = IssueTokens(platform, tokens, TokenLifetimes(config.sessions))
    return Auth(
        tokens,
        sightings,
        authenticator,
        passwords,
        check_password,
        registration_tokens,
        interactive_auth,
        issue_tokens,
        StartSession(platform, core.committer, issue_tokens, authenticator),
    )


def _build_tokens(core: Core) -> SessionTokens:
    secret = core.config.secrets.macaroon_secret_key
    if secret is None:
        raise ValueError("macaroon_secret_key is not set")
    return SessionTokens(core.server_name, secret)


def _build_authenticator(core: Core, tokens: SessionTokens, sightings: DeviceSightings) -> TokenAuthenticator:
    cache = TokenCache(core.config.popcube.memory.access_tokens)
    core.metrics.cache("access_tokens", lambda: len(cache), lambda: cache.hits, lambda: cache.misses)
    authenticator = TokenAuthenticator(
        tokens, cache, sightings, core.database, core.committer, core.platform.now_ms
    )
    core.log.follow(authenticator.follow)
    return authenticator
