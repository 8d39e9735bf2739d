"""How often is too often: token buckets, with Synapse's defaults."""

from synapse_like_config import options
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True)
class RateLimit:
    """A bucket of `burst_count` requests that fills at `per_second`."""

    per_second: float = options.number(0.17, 0)
    burst_count: float = options.number(3, 0)


@dataclass(frozen=True)
class LoginRateLimits:
    """By address of the client, by account, and by failures of an account."""

    address: RateLimit = options.nested(RateLimit(0.003, 5))
    account: RateLimit = options.nested(RateLimit(0.003, 5))
    failed_attempts: RateLimit = options.nested(RateLimit(0.17, 3))


@dataclass(frozen=True)
class JoinRateLimits:
    """By user: rooms that this server is in, and rooms that it is not in yet."""

    local: RateLimit = options.nested(RateLimit(0.1, 10))
    remote: RateLimit = options.nested(RateLimit(0.01, 10))


@dataclass(frozen=True)
class InviteRateLimits:
    """By room, by the user who receives, by the user who sends."""

    per_room: RateLimit = options.nested(RateLimit(0.3, 10))
    per_user: RateLimit = options.nested(RateLimit(0.003, 5))
    per_issuer: RateLimit = options.nested(RateLimit(0.3, 10))


@dataclass(frozen=True)
class PresenceRateLimits:
    """By user."""

    per_user: RateLimit = options.nested(RateLimit(0.1, 1))


@dataclass(frozen=True)
class FederationRateLimits:
    """By remote server. Windows and delays are plain milliseconds."""

    window_size_ms: int = options.duration_ms("1s", 1)
    sleep_limit: int = options.integer(10, 1)
    sleep_delay_ms: int = options.duration_ms("500")
    reject_limit: int = options.integer(50, 1)
    concurrent: int = options.integer(3, 1)


@dataclass(frozen=True)
class RateLimitsSection:
    """`rc_admin_redaction` of None means that redactions by moderators count as messages."""

    rc_message: RateLimit = options.nested(RateLimit(0.2, 10))
    rc_registration: RateLimit = options.nested(RateLimit(0.17, 3))
    rc_registration_token_validity: RateLimit = options.nested(RateLimit(0.1, 5))
    rc_login: LoginRateLimits = options.nested(LoginRateLimits())
    rc_admin_redaction: RateLimit | None = options.optional_nested(RateLimit)
    rc_joins: JoinRateLimits = options.nested(JoinRateLimits())
    rc_joins_per_room: RateLimit = options.nested(RateLimit(1, 10))
    rc_invites: InviteRateLimits = options.nested(InviteRateLimits())
    rc_third_party_invite: RateLimit = options.nested(RateLimit(0.2, 10))
    rc_3pid_validation: RateLimit = options.nested(RateLimit(0.003, 5))
    rc_media_create: RateLimit = options.nested(RateLimit(10, 50))
    rc_key_requests: RateLimit = options.nested(RateLimit(20, 100))
    rc_presence: PresenceRateLimits = options.nested(PresenceRateLimits())
    rc_room_creation: RateLimit = options.nested(RateLimit(0.016, 10))
    rc_reports: RateLimit = options.nested(RateLimit(1, 5))
    rc_user_directory: RateLimit = options.nested(RateLimit(0.016, 200))
    rc_delayed_event_mgmt: RateLimit = options.nested(RateLimit(1, 5))
    rc_federation: FederationRateLimits = options.nested(FederationRateLimits())
    federation_rr_transactions_per_room_per_second: int = options.integer(50, 1)
