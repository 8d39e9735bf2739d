"""How often people may join and invite."""

from collections.abc import Collection

from popcube_server.services.rate_limits import RateLimiter
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MembershipLimits:
    """The limits of Synapse's `rc_joins`, `rc_joins_per_room` and `rc_invites`."""

    joins: RateLimiter
    remote_joins: RateLimiter
    """Of rooms that this server is not in: they cost it, and others, more."""
    joins_per_room: RateLimiter
    invites_per_room: RateLimiter
    invites_per_user: RateLimiter
    invites_per_issuer: RateLimiter

    def spend_join(self, user_id: str, room_id: str) -> None:
        """Raises `LimitExceeded`."""
        # Both or none: who may not join now has not used up a join.
        self.joins_per_room.check(room_id)
        self.joins.spend(user_id)
        self.joins_per_room.spend(room_id)

    def spend_remote_join(self, user_id: str, room_id: str) -> None:
        """Raises `LimitExceeded`."""
        self.joins_per_room.check(room_id)
        self.remote_joins.spend(user_id)
        self.joins_per_room.spend(room_id)

    def spend_invites(self, inviter: str, invitees: Collection[str]) -> None:
        """All invites to a room that is not there yet, or none. Raises `LimitExceeded`."""
        self.invites_per_room.check(None, len(invitees))
        for invitee in invitees:
            self.invites_per_user.check(invitee)
        self.invites_per_issuer.spend(inviter, len(invitees))
        for invitee in invitees:
            self.invites_per_user.spend(invitee)

    def spend_invite(self, inviter: str, room_id: str, invitee: str) -> None:
        """Raises `LimitExceeded`."""
        self.invites_per_room.spend(room_id)
        self.invites_per_user.spend(invitee)
        self.invites_per_issuer.spend(inviter)
