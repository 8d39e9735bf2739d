"""How much a user may upload: the quotas of the configuration."""

from collections.abc import Sequence

from popcube_server.services.errors import NotAllowed
from popcube_server.services.platform import Platform
from storage.database import Database
from storage.media import MediaRepository, QuotaExceeded, UploadLimit


class UploadQuotas:
    """Looks before an upload is stored; the change that records it looks again, exactly."""

    def __init__(
        self, platform: Platform, database: Database, media: MediaRepository, limits: Sequence[UploadLimit]
    ) -> None:
        self._platform = platform
        self._database = database
        self._media = media
        self.limits = tuple(limits)

    async def check(self, user_id: str, size_bytes: int) -> None:
        """Raises `NotAllowed`."""
        if not self.limits:
            return
        now_ms = self._platform.now_ms()
        try:
            await self._database.read(
                lambda tx: self._media.check_quota(tx, user_id, now_ms, size_bytes, self.limits)
            )
        except QuotaExceeded as error:
            raise quota_refusal() from error


def quota_refusal() -> NotAllowed:
    """403: the user has reached a quota for uploaded content."""
    return NotAllowed("You have uploaded as much as this server allows for now.")
