"""Tags of rooms: kept as the room's account data `m.tag`.

Source: client-server API, "Room Tagging".
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from popcube_server.services.account_data.account_data import (
    check_owner,
    check_room_id,
    check_size,
    encode_content,
)
from popcube_server.services.errors import BadJson, InvalidParam
from popcube_server.services.requester import Requester
from storage.account_data import AccountDataRepository, AccountDataRow, SetAccountData
from storage.change import Conflict
from storage.committer import Committer
from storage.database import Database

TAG: Final = "m.tag"
MAX_TAG_BYTES: Final = 255
MAX_TRIES: Final = 10

_Tags = dict[str, Any]


class Tags:
    """Each change reads the room's tags and writes them back, unless somebody else wrote them meanwhile."""

    def __init__(self, database: Database, repository: AccountDataRepository, committer: Committer) -> None:
        self._database = database
        self._repository = repository
        self._committer = committer

    async def get(self, requester: Requester, user_id: str, room_id: str) -> Mapping[str, Any]:
        """By name. Raises `NotAllowed`, `InvalidParam`."""
        check_owner(requester, user_id)
        check_room_id(room_id)
        return _tags(await self._row(user_id, room_id))

    async def set(
        self, requester: Requester, user_id: str, room_id: str, tag: str, content: Mapping[str, Any]
    ) -> None:
        """Raises `NotAllowed`, `InvalidParam`, `BadJson`, `TooLarge`."""
        check_owner(requester, user_id)
        check_room_id(room_id)
        # "The tag namespace ... names MUST NOT exceed 255 bytes."
        if not tag or len(tag.encode()) > MAX_TAG_BYTES:
            raise InvalidParam(f"The name of a tag must have 1 to {MAX_TAG_BYTES} bytes.")
        order = content.get("order")
        # The specification wants a floating point number from 0 to 1.
        if order is not None and (isinstance(order, bool) or not isinstance(order, int | float)):
            raise BadJson("'order' must be a number.")
        if order is not None and not 0 <= order <= 1:
            raise InvalidParam("'order' must be between 0 and 1.")
        await self._change(user_id, room_id, lambda tags: {**tags, tag: content})

    async def delete(self, requester: Requester, user_id: str, room_id: str, tag: str) -> None:
        """A tag that is not there is deleted already. Raises `NotAllowed`, `InvalidParam`."""
        check_owner(requester, user_id)
        check_room_id(room_id)
        await self._change(
            user_id, room_id, lambda tags: {name: kept for name, kept in tags.items() if name != tag}
        )

    async def _change(self, user_id: str, room_id: str, how: Callable[[_Tags], _Tags]) -> None:
        for _ in range(MAX_TRIES):
            row = await self._row(user_id, room_id)
            tags = _tags(row)
            changed = how(tags)
            if changed == tags:
                return
            content = encode_content({"tags": changed})
            based_on = 0 if row is None else row.position
            change = SetAccountData(user_id, room_id, TAG, content, based_on)
            await check_size(self._database, self._repository, change)
            try:
                await self._committer.commit(change)
            except Conflict:
                continue
            return
        raise Conflict("the tags change too often")

    async def _row(self, user_id: str, room_id: str) -> AccountDataRow | None:
        return await self._database.read(lambda tx: self._repository.find(tx, user_id, room_id, TAG))


def _tags(row: AccountDataRow | None) -> _Tags:
    # The owner can write this account data directly too, in any shape.
    tags = None if row is None else orjson.loads(row.content).get("tags")
    return tags if isinstance(tags, dict) else {}
