"""Filters that clients leave here and name by ID later, in every sync."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import orjson

from federation.room_dag.base64 import encode_base64
from popcube_server.services.bounded_cache import BoundedCache
from popcube_server.services.errors import BadJson, NotFound, TooLarge
from popcube_server.services.filters.sync_filter import MAX_FILTER_BYTES, SyncFilter, parse_sync_filter
from storage.committer import Committer
from storage.database import Database
from storage.filters import FiltersRepository, StoreFilter

ID_BYTES: Final = 12


class StoredFilters:
    """A filter's ID is its digest: the same filter, uploaded again, is the same one."""

    def __init__(
        self, database: Database, repository: FiltersRepository, committer: Committer, size: int
    ) -> None:
        self._database = database
        self._repository = repository
        self._committer = committer
        # What a filter says never changes, so nothing here becomes untrue.
        self._compiled: BoundedCache[tuple[str, str], SyncFilter] = BoundedCache(size)

    async def store(self, user_id: str, body: Mapping[str, Any]) -> str:
        """The ID of the filter. Raises `BadJson`, `InvalidParam` or `TooLarge`."""
        compiled = parse_sync_filter(body)
        try:
            content = orjson.dumps(body)
        except orjson.JSONEncodeError:
            raise BadJson("The filter cannot be stored as JSON.") from None
        if len(content) > MAX_FILTER_BYTES:
            raise TooLarge(f"A filter may have at most {MAX_FILTER_BYTES} bytes.")
        digest = sha256(content).digest()[:ID_BYTES]
        # It may not start with `{`, and goes into URLs as it is.
        filter_id = encode_base64(digest).replace("+", "-").replace("/", "_")
        await self._committer.commit(StoreFilter(user_id, filter_id, content))
        self._compiled.put((user_id, filter_id), compiled)
        return filter_id

    async def get(self, user_id: str, filter_id: str) -> SyncFilter:
        """The compiled filter. Raises `NotFound`."""
        compiled = self._compiled.get((user_id, filter_id))
        if compiled is None:
            compiled = parse_sync_filter(orjson.loads(await self.get_content(user_id, filter_id)))
            self._compiled.put((user_id, filter_id), compiled)
        return compiled

    async def get_content(self, user_id: str, filter_id: str) -> bytes:
        """The filter as it was sent. Raises `NotFound`."""
        content = await self._database.read(lambda tx: self._repository.find(tx, user_id, filter_id))
        if content is None:
            raise NotFound("There is no such filter.")
        return content
