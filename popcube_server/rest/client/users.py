"""Specification module users."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Call, endpoint
from popcube_server.rest.parse import find_int, get_string
from popcube_server.services.user_directory.search_users import Person, SearchUsers

DEFAULT_LIMIT = 10


class Users:
    def __init__(self, search_users: SearchUsers) -> None:
        self._search_users = search_users

    @endpoint("POST", "/_matrix/client/v3/user_directory/search")
    async def search(self, call: Call) -> Mapping[str, Any]:
        term = get_string(call.body, "search_term")
        limit = find_int(call.body, "limit", 1)
        people = await self._search_users.search(
            call.requester, term, DEFAULT_LIMIT if limit is None else limit
        )
        return {"results": [_result(person) for person in people.results], "limited": people.limited}


def _result(person: Person) -> dict[str, str]:
    result = {"user_id": person.user_id}
    if person.display_name is not None:
        result["display_name"] = person.display_name
    if person.avatar_url is not None:
        result["avatar_url"] = person.avatar_url
    return result
