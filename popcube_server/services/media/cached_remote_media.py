"""Media of other servers that were fetched before."""

from collections.abc import Sequence
from typing import cast

from federation.transport.allowed_servers import AllowedServers
from popcube_server.services.errors import NotFound
from popcube_server.services.media.delete_files import delete_files
from popcube_server.services.media.media_address import MediaAddress, MediaRequest
from popcube_server.services.platform import Platform
from storage.committer import Committer
from storage.database import Database
from storage.media import ContentRecord
from storage.media_store import MediaStore
from storage.media_use import ForgetRemoteFile
from storage.remote_media import RemoteMediaRepository


class CachedRemoteMedia:
    """A `RemoteMedia` that fetches nothing: for those in whose name nothing is fetched."""

    def __init__(
        self,
        platform: Platform,
        database: Database,
        committer: Committer,
        store: MediaStore,
        allowed: AllowedServers,
        prevented: Sequence[str],
    ) -> None:
        """`prevented` are the servers of `prevent_media_downloads_from`."""
        self._platform = platform
        self._database = database
        self._committer = committer
        self._store = store
        self._allowed = allowed
        self._prevented = frozenset(name.lower() for name in prevented)
        self._repository = RemoteMediaRepository()

    async def get(self, request: MediaRequest) -> ContentRecord:
        """Raises `NotFound`."""
        content = await self.find(request.address)
        if content is None:
            raise NotFound("This server does not have that media.")
        return content

    async def find(self, address: MediaAddress) -> ContentRecord | None:
        """Raises `NotFound` for servers whose media are not given to anybody, also if they are here."""
        name = address.server_name
        if name.lower() in self._prevented or not self._allowed.is_allowed(name):
            raise NotFound("This server gives out no media of that server.")
        return await self._database.read(
            lambda tx: self._repository.find(tx, address.server_name, address.media_id)
        )

    async def forget(self, content: ContentRecord) -> None:
        """The store lost the file: its record goes too, so that it can be fetched again."""
        committed = await self._committer.commit(ForgetRemoteFile(content.file_key))
        await delete_files(self._platform, self._store, cast("list[str]", committed.results[0]))
