"""Specification modules keys_server and keys_query: our own keys, and those of others as a notary tells them."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.rest.parse import MAX_CANONICAL_INTEGER, find_int, get_object
from popcube_server.services.errors import BadJson, InvalidParam
from popcube_server.services.federation.answer_key_queries import AnswerKeyQueries, KeyQuery
from popcube_server.services.federation.own_documents import OwnKeyDocument

_MINIMUM = "minimum_valid_until_ts"


class ServerKeys:
    """Specification module keys_server."""

    def __init__(self, document: OwnKeyDocument) -> None:
        self._document = document

    @endpoint("GET", "/_matrix/key/v2/server", Access.OPEN)
    # COMPAT: with a key ID until v1.5 of the specification; the answer always had all keys.
    @endpoint("GET", "/_matrix/key/v2/server/{key_id}", Access.OPEN)
    async def get(self, call: Call) -> Mapping[str, Any]:
        return self._document.get()


class KeyQueries:
    """Specification module keys_query."""

    def __init__(self, answer_key_queries: AnswerKeyQueries) -> None:
        self._answer_key_queries = answer_key_queries

    @endpoint("GET", "/_matrix/key/v2/query/{server_name}", Access.OPEN)
    async def query_one(self, call: Call) -> Mapping[str, Any]:
        return await self._answer(call)

    # COMPAT: with a key ID until v1.5 of the specification.
    @endpoint("GET", "/_matrix/key/v2/query/{server_name}/{key_id}", Access.OPEN)
    async def query_key(self, call: Call) -> Mapping[str, Any]:
        return await self._answer(call, call.path["key_id"])

    @endpoint("POST", "/_matrix/key/v2/query", Access.OPEN)
    async def query(self, call: Call) -> Mapping[str, Any]:
        wanted = get_object(call.body, "server_keys")
        queries = {server_name: _query(_object(keys)) for server_name, keys in wanted.items()}
        return {"server_keys": await self._answer_key_queries.answer(queries)}

    async def _answer(self, call: Call, *key_ids: str) -> Mapping[str, Any]:
        query = KeyQuery(frozenset(key_ids), _minimum(call))
        return {"server_keys": await self._answer_key_queries.answer({call.path["server_name"]: query})}


def _query(keys: Mapping[str, Any]) -> KeyQuery:
    times = [find_int(_object(criteria), _MINIMUM, 0) for criteria in keys.values()]
    minimum = max((time for time in times if time is not None), default=None)
    return KeyQuery(frozenset(keys), minimum)


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadJson("'server_keys' must hold objects of objects.")
    return value


def _minimum(call: Call) -> int | None:
    text = call.query_one(_MINIMUM)
    if text is None:
        return None
    if not text.isdecimal() or not text.isascii() or len(text) > 16 or int(text) > MAX_CANONICAL_INTEGER:
        raise InvalidParam(f"The query parameter '{_MINIMUM}' must be milliseconds since 1970.")
    return int(text)
