"""Upload content to a media ID that was created earlier."""

from popcube_server.services.errors import NotAllowed, NotFound, WithCode
from popcube_server.services.media.media_address import MediaAddress
from popcube_server.services.media.receive_content import ReceiveContent, Upload
from popcube_server.services.media.upload_quotas import UploadQuotas, quota_refusal
from popcube_server.services.media.upload_safety import UploadSafety
from popcube_server.services.platform import Platform
from popcube_server.services.requester import Requester
from storage.database import Database
from storage.media import FillMedia as FillMediaChange
from storage.media import MediaRepository, NotPending, QuotaExceeded


class FillMedia:
    def __init__(
        self,
        server_name: str,
        platform: Platform,
        database: Database,
        safety: UploadSafety,
        media: MediaRepository,
        receive: ReceiveContent,
        quotas: UploadQuotas,
    ) -> None:
        self._server_name = server_name
        self._platform = platform
        self._database = database
        self._safety = safety
        self._media = media
        self._receive = receive
        self._quotas = quotas

    async def fill(self, requester: Requester, address: MediaAddress, upload: Upload) -> None:
        """Raises `NotFound`, `NotAllowed` (not yours, or quota), `TooLarge`, or 409 if the content is there already."""
        await self._authorize(requester, address)
        self._receive.check_size(upload)
        await self._quotas.check(requester.user_id, upload.size_bytes)
        content = await self._receive.receive(upload)
        change = FillMediaChange(address.media_id, requester.user_id, content, self._quotas.limits)
        try:
            await self._safety.commit(content.file_key, change)
        except QuotaExceeded as error:
            await self._receive.discard(content)
            raise quota_refusal() from error
        except NotPending:
            # It expired, or another upload to the same ID was quicker: looking again says which.
            await self._receive.discard(content)
            await self._authorize(requester, address)
            raise

    async def _authorize(self, requester: Requester, address: MediaAddress) -> None:
        if address.server_name != self._server_name:
            raise NotFound("There is no such media ID on this server.")
        row = await self._database.read(lambda tx: self._media.find(tx, address.media_id))
        # 404: the MXC ID was not created with /create, or has expired.
        if row is None or row.is_expired(self._platform.now_ms()):
            raise NotFound("There is no such media ID, or it has expired.")
        # 403: the request comes from a different user than the one that called /create.
        if row.owner != requester.user_id:
            raise NotAllowed("Another user created this media ID.")
        # 409: the endpoint was called with a media ID that already has content.
        if row.content is not None:
            raise WithCode(409, "M_CANNOT_OVERWRITE_MEDIA", "This media ID has its content already.")
