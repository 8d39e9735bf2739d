"""Account data: set and read by its owner alone.

Source: client-server API, "Client Config".
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from federation.room_dag.canonical_json import compact
from federation.room_dag.identifiers import is_room_id
from popcube_server.services.errors import BadJson, InvalidParam, NotAllowed, NotFound, TooLarge, WithCode
from popcube_server.services.push.push_rules import PushRules
from popcube_server.services.requester import Requester
from storage.account_data import ENTRY_BYTES, NO_ROOM, AccountDataRepository, SetAccountData
from storage.committer import Committer
from storage.database import Database

MAX_CONTENT_BYTES: Final = 256 * 1024
MAX_TYPE_BYTES: Final = 255
MAX_SIZE_BYTES: Final = 16 * 1024 * 1024
"""Of all that a user has: a first sync holds it in memory."""

FULLY_READ: Final = "m.fully_read"
PUSH_RULES: Final = "m.push_rules"

# "This `type` of account data is controlled by the server; it cannot be modified by clients."
_PROTECTED: Final = frozenset((FULLY_READ, PUSH_RULES))


class AccountData:
    """`room_id` is `NO_ROOM` for account data about no room."""

    def __init__(
        self,
        database: Database,
        repository: AccountDataRepository,
        committer: Committer,
        push_rules: PushRules,
    ) -> None:
        self._database = database
        self._repository = repository
        self._committer = committer
        self._push_rules = push_rules

    async def set(
        self, requester: Requester, user_id: str, room_id: str, event_type: str, content: Mapping[str, Any]
    ) -> None:
        """Raises `NotAllowed` for other users, 405 for types that are the server's, `TooLarge`, `InvalidParam`."""
        check_owner(requester, user_id)
        if event_type in _PROTECTED:
            raise WithCode(405, "M_BAD_JSON", f"{event_type} cannot be set through this endpoint.")
        if not event_type or len(event_type.encode()) > MAX_TYPE_BYTES:
            raise InvalidParam(f"The type must have 1 to {MAX_TYPE_BYTES} bytes.")
        encoded = encode_content(content)
        change = SetAccountData(user_id, room_id, event_type, encoded)
        await check_size(self._database, self._repository, change)
        await self._committer.commit(change)

    async def get(self, requester: Requester, user_id: str, room_id: str, event_type: str) -> bytes:
        """The content as JSON. Raises `NotAllowed` for other users, `NotFound`."""
        check_owner(requester, user_id)
        if event_type == PUSH_RULES and room_id == NO_ROOM:
            return orjson.dumps(await self._push_rules.content(user_id))
        row = await self._database.read(lambda tx: self._repository.find(tx, user_id, room_id, event_type))
        if row is None:
            raise NotFound("There is no account data of that type.")
        return row.content


def check_owner(requester: Requester, user_id: str) -> None:
    """Raises `NotAllowed` if the data is another user's."""
    if requester.user_id != user_id:
        raise NotAllowed("You can see and change only your own data.")


async def check_size(database: Database, repository: AccountDataRepository, change: SetAccountData) -> None:
    """Raises `TooLarge` if the user would have more than anybody needs.

    Looked at before the write, so what is written at the same time may go a little further.
    """
    size, present = await database.read(
        lambda tx: (
            repository.get_size(tx, change.user_id),
            repository.find(tx, change.user_id, change.room_id, change.type),
        )
    )
    new_bytes = len(change.content)
    grows_by = new_bytes + ENTRY_BYTES if present is None else new_bytes - len(present.content)
    if grows_by > 0 and size + grows_by > MAX_SIZE_BYTES:
        raise TooLarge(f"All account data together may have at most {MAX_SIZE_BYTES} bytes.")


def check_room_id(room_id: str) -> None:
    """Raises `InvalidParam`."""
    if not is_room_id(room_id):
        raise InvalidParam(f"{room_id} is not a valid room ID.")


def encode_content(content: Mapping[str, Any]) -> bytes:
    """Raises `TooLarge`, or `BadJson` for what no JSON can say."""
    try:
        encoded = compact(orjson.dumps(content))
    except orjson.JSONEncodeError:
        raise BadJson("The content cannot be stored as JSON.") from None
    if len(encoded) > MAX_CONTENT_BYTES:
        raise TooLarge(f"Account data may have at most {MAX_CONTENT_BYTES} bytes.")
    return encoded
