"""What stands between other servers' invites and our users: limits, and whether invites are taken at all."""

from popcube_server.services.errors import NotAllowed
from popcube_server.services.rooms.membership_limits import MembershipLimits


class InviteDoor:
    """The limits are those of invites made here: who is invited too often is so wherever it comes from."""

    def __init__(self, limits: MembershipLimits, only_admins_invite: bool) -> None:
        self._limits = limits
        self._only_admins_invite = only_admins_invite

    def check_open(self) -> None:
        """Raises `NotAllowed` with `block_non_admin_invites`: no user of another server is an administrator here."""
        if self._only_admins_invite:
            raise NotAllowed("This server takes no invites from other servers.")

    def spend_invite(self, inviter: str, room_id: str, invitee: str) -> None:
        """Raises `LimitExceeded`."""
        self._limits.spend_invite(inviter, room_id, invitee)
