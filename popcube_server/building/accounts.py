"""Builds accounts: registration, login, sessions, devices, profiles."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from popcube_server.building.core import Core
from popcube_server.rest.client.login import Login
from popcube_server.rest.client.register import Register
from popcube_server.rest.client.whoami import Whoami
from popcube_server.rest.resource import Authenticator
from popcube_server.services.accounts.device_sightings import DeviceSightings
from popcube_server.services.accounts.register_account import RegisterAccount
from popcube_server.services.accounts.sign_up import SignUp
from popcube_server.services.accounts.suspension import AccountSuspensions
from popcube_server.services.auth.authenticator import TokenAuthenticator
from popcube_server.services.auth.check_password import CheckPassword
from popcube_server.services.auth.interactive_auth import InteractiveAuth
from popcube_server.services.auth.interactive_session import InteractiveSessions
from popcube_server.services.auth.log_in import LogIn
from popcube_server.services.auth.login_bans import LoginBans
from popcube_server.services.auth.login_tokens import LoginTokens
from popcube_server.services.auth.passwords import Passwords
from popcube_server.services.auth.registration_tokens import RegistrationTokens
from popcube_server.services.auth.session_tokens import SessionTokens
from popcube_server.services.auth.stages import DummyStage, PasswordStage, RegistrationTokenStage
from popcube_server.services.auth.start_session import IssueTokens, StartSession, TokenLifetimes
from popcube_server.services.auth.token_cache import TokenCache
from popcube_server.services.rate_limits import RateLimiter
from synapse_like_config.ratelimits import RateLimit

INTERACTIVE_SESSION_ID_LENGTH = 24
# Whether a name is free is asked with every pause in typing.
NAME_CHECKS = RateLimit(per_second=1, burst_count=20)


@dataclass(frozen=True, slots=True)
class Accounts:
    """What other areas use: the authenticator, and user-interactive authentication for dangerous endpoints."""

    authenticator: Authenticator
    interactive_auth: InteractiveAuth
    suspensions: AccountSuspensions
    servlets: Sequence[object] = ()
    parts: Sequence[Any] = field(default_factory=tuple)


def build_accounts(core: Core) -> Accounts:
    config, platform = core.config, core.platform

    def limiter(limit: RateLimit) -> RateLimiter:
        return RateLimiter(limit, platform.now_s)

    if config.secrets.macaroon_secret_key is None:
        raise ValueError("macaroon_secret_key is not set")
    tokens = SessionTokens(core.server_name, config.secrets.macaroon_secret_key)
    cache = TokenCache(config.popcube.memory.access_tokens)
    core.metrics.cache("access_tokens", lambda: len(cache), lambda: cache.hits, lambda: cache.misses)
    sightings = DeviceSightings(platform, core.committer)
    authenticator = TokenAuthenticator(
        tokens, cache, sightings, core.database, core.committer, platform.now_ms
    )
    core.log.follow(authenticator.follow)
    passwords = Passwords(platform, config.popcube.argon2, config.passwords.password_config.pepper)
    rc_login = config.rate_limits.rc_login
    check_password = CheckPassword(
        core.server_name,
        core.database,
        core.committer,
        passwords,
        LoginBans(core.committer, platform.now_ms),
        limiter(rc_login.failed_attempts),
    )
    registration_tokens = RegistrationTokens(core.database, core.committer, platform.now_ms)
    interactive_auth = InteractiveAuth(
        InteractiveSessions(lambda: platform.random_letters(INTERACTIVE_SESSION_ID_LENGTH), platform.now_ms),
        (DummyStage(), PasswordStage(check_password), RegistrationTokenStage(registration_tokens)),
    )
    issue_tokens = IssueTokens(platform, tokens, TokenLifetimes(config.sessions))
    start_session = StartSession(platform, core.committer, issue_tokens)
    register_account = RegisterAccount(
        platform, core.server_name, core.database, core.committer, passwords, lambda user_id: False
    )
    sign_up = SignUp(
        config.registration,
        config.passwords.password_config.policy,
        interactive_auth,
        register_account,
        start_session,
        limiter(config.rate_limits.rc_registration),
    )
    existing = config.sessions.login_via_existing_session
    login_tokens = LoginTokens(platform, core.committer, existing.token_timeout_ms)
    log_in = LogIn(
        core.database,
        check_password,
        login_tokens,
        start_session,
        limiter(rc_login.address),
        limiter(rc_login.account),
    )
    servlets = [
        Register(core.server_name, sign_up, register_account, limiter(NAME_CHECKS)),
        Login(
            core.server_name,
            config.server.client_base_url,
            config.passwords.password_config.is_login_enabled,
            existing.enabled,
            log_in,
        ),
        Whoami(),
    ]
    suspensions = AccountSuspensions(core.database, core.log)
    return Accounts(authenticator, interactive_auth, suspensions, servlets, (sightings,))
