"""Files of our own media, for the other sites of the organization."""

import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

from popcube_server.rest.endpoint import Access, Call, FileAnswer, endpoint
from popcube_server.rest.parse import query_int
from popcube_server.services.errors import NotFound
from popcube_server.services.media.fetch_from_sites import AWAITED_HEADER, FILES
from popcube_server.services.media.give_to_site import GiveToSite

_KEY: Final = re.compile(r"[0-9a-f]{32}")


class AwaitedFiles(Protocol):
    """Uploads that are answered once a peer has their files."""

    def is_awaited(self, file_key: str) -> bool: ...

    def held(self, file_key: str) -> None: ...


class SiteMedia:
    def __init__(self, give: GiveToSite, awaited: AwaitedFiles) -> None:
        self._give = give
        self._awaited = awaited

    # Its bytes are hashed by whoever asked: the content type says nothing, and there are no other headers.
    @endpoint("GET", FILES + "{file_key}", Access.SERVER)
    async def file(self, call: Call) -> FileAnswer:
        file_key = _file_key(call)
        offset = query_int(call, "offset", 0, 0, 2**53)
        opened = await self._give.open(file_key, offset)
        headers = {AWAITED_HEADER: "1"} if self._awaited.is_awaited(file_key) else {}
        return FileAnswer(opened.file, opened.size_bytes, "application/octet-stream", headers)

    @endpoint("POST", FILES + "{file_key}/held", Access.SERVER)
    async def held(self, call: Call) -> Mapping[str, Any]:
        self._awaited.held(_file_key(call))
        return {}


def _file_key(call: Call) -> str:
    """Other servers' media are none of the other site's affair: each fetches its own."""
    file_key = call.path["file_key"]
    if not _KEY.fullmatch(file_key):
        raise NotFound("That is no key of a media file.")
    return file_key
