"""How often people may join and invite."""

from dataclasses import dataclass

from popcube_server.services.rate_limits import RateLimiter


@dataclass(frozen=True, slots=True)
class MembershipLimits:
    """The limits of Synapse's `rc_joins.local` and `rc_invites`."""

    joins: RateLimiter
    invites_per_room: RateLimiter
    invites_per_user: RateLimiter
    invites_per_issuer: RateLimiter

    def spend_invite(self, inviter: str, room_id: str, invitee: str) -> None:
        """Raises `LimitExceeded`."""
        self.invites_per_room.spend(room_id)
        self.invites_per_user.spend(invitee)
        self.invites_per_issuer.spend(inviter)
