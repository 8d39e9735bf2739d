"""Create a media ID whose content is uploaded later."""

from popcube_server.services.errors import LimitExceeded
from popcube_server.services.media.upload_media import MEDIA_ID_LETTERS
from popcube_server.services.platform import Platform
from popcube_server.services.rate_limits import RateLimiter
from popcube_server.services.requester import Requester
from storage.committer import Committer
from storage.media import ReserveMedia as ReserveMediaChange
from storage.media import TooManyPending
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reservation:
    """A media ID, and until when its content may come."""

    media_id: str
    expires_ms: int


class ReserveMedia:
    def __init__(
        self,
        platform: Platform,
        committer: Committer,
        rate: RateLimiter,
        lifetime_ms: int,
        max_pending: int,
    ) -> None:
        self._platform = platform
        self._committer = committer
        self._rate = rate
        self._lifetime_ms = lifetime_ms
        self._max_pending = max_pending

    async def reserve(self, requester: Requester) -> Reservation:
        """Raises `LimitExceeded` if the user reserves too often, or uses too little of what was reserved."""
        self._rate.spend(requester.user_id)
        now_ms = self._platform.now_ms()
        reservation = Reservation(self._platform.random_letters(MEDIA_ID_LETTERS), now_ms + self._lifetime_ms)
        try:
            await self._committer.commit(
                ReserveMediaChange(
                    reservation.media_id,
                    requester.user_id,
                    now_ms,
                    reservation.expires_ms,
                    self._max_pending,
                )
            )
        except TooManyPending as error:
            # The server should limit the number of concurrent pending media uploads, and respond with 429.
            raise LimitExceeded(
                f"{self._max_pending} media IDs wait for their content. Upload to them first.",
                max(error.next_expiry_ms - now_ms, 1),
            ) from error
        return reservation
