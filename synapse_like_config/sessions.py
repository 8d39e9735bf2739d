"""How long people stay logged in."""

from synapse_like_config import options
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True)
class UiAuthConfig:
    """For how long one confirmation counts for further actions; 0 asks every time."""

    session_timeout_ms: int = options.duration_ms("0")


@dataclass(frozen=True)
class LoginViaExistingSession:
    """Whether a client can get a login token for another client of the same user."""

    enabled: bool = options.boolean(False)
    require_ui_auth: bool = options.boolean(True)
    token_timeout_ms: int = options.duration_ms("5m", 1000)


@dataclass(frozen=True)
class SessionsSection:
    """None is without end, except for `refreshable_access_token_lifetime_ms`: there it turns refresh tokens off."""

    session_lifetime_ms: int | None = options.optional_duration_ms()
    refreshable_access_token_lifetime_ms: int | None = options.optional_duration_ms("5m", 1000)
    refresh_token_lifetime_ms: int | None = options.optional_duration_ms()
    nonrefreshable_access_token_lifetime_ms: int | None = options.optional_duration_ms()
    ui_auth: UiAuthConfig = options.nested(UiAuthConfig())
    login_via_existing_session: LoginViaExistingSession = options.nested(LoginViaExistingSession())
    delete_stale_devices_after_ms: int | None = options.optional_duration_ms()
    user_ips_max_age_ms: int | None = options.optional_duration_ms("28d")
