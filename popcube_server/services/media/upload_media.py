"""Upload content and get a media ID for it, in one step."""

from popcube_server.services.media.receive_content import ReceiveContent, Upload
from popcube_server.services.media.upload_quotas import UploadQuotas, quota_refusal
from popcube_server.services.media.upload_safety import UploadSafety
from popcube_server.services.platform import Platform
from popcube_server.services.requester import Requester
from storage.media import QuotaExceeded, StoreMedia

MEDIA_ID_LETTERS = 24
"""136 bits: nobody finds media by guessing."""


class UploadMedia:
    def __init__(
        self, platform: Platform, safety: UploadSafety, receive: ReceiveContent, quotas: UploadQuotas
    ) -> None:
        self._platform = platform
        self._safety = safety
        self._receive = receive
        self._quotas = quotas

    async def upload(self, requester: Requester, upload: Upload) -> str:
        """The new media's ID. Raises `TooLarge`, `NotAllowed` (quota)."""
        self._receive.check_size(upload)
        await self._quotas.check(requester.user_id, upload.size_bytes)
        content = await self._receive.receive(upload)
        media_id = self._platform.random_letters(MEDIA_ID_LETTERS)
        try:
            await self._safety.commit(
                content.file_key, StoreMedia(media_id, requester.user_id, content, self._quotas.limits)
            )
        except QuotaExceeded as error:
            # Only a refusal is certain to have written nothing: after any other failure of the commit the file stays.
            await self._receive.discard(content)
            raise quota_refusal() from error
        return media_id
