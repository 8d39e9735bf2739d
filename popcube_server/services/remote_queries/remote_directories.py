"""The directories of other servers. Source: server-server API, `/publicRooms`."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from federation.room_dag.identifiers import is_server_name
from federation.transport.errors import FederationError, InvalidAnswer, Unreachable
from popcube_server.services.errors import InvalidParam, WithCode
from popcube_server.services.remote_queries.checked_rooms import MAX_INTEGER, read_room, size_of
from popcube_server.services.remote_queries.question_limits import Question
from popcube_server.services.remote_queries.remembered_answers import RememberedAnswers
from popcube_server.services.rooms.public_rooms import DirectoryPage, DirectoryQuery, DirectorySearch

MAX_TOKEN_CHARACTERS: Final = 2_048
MAX_TERM_CHARACTERS: Final = 1_000
MAX_TYPES: Final = 100


class AskPublicRooms(Protocol):
    async def public_rooms(self, server: str, query: Mapping[str, Any]) -> Mapping[str, Any]:
        """Raises `FederationError`. `query` is the JSON object of the request."""


class RemoteDirectories:
    def __init__(
        self,
        servers: AskPublicRooms,
        answers: RememberedAnswers[tuple[str, DirectorySearch], DirectoryPage],
    ) -> None:
        self._servers = servers
        self._answers = answers

    async def list(self, asker: str, server: str, query: DirectorySearch) -> DirectoryPage:
        """A page of another server's directory; its tokens are that server's.

        Raises `InvalidParam`, `LimitExceeded`; M_UNKNOWN with 504 if the server does not answer, with 502 if it refuses
        or makes no sense.
        """
        _check(server, query.rooms)
        try:
            return await self._answers.get(
                Question(asker, server), (server, query), lambda: self._ask(server, query)
            )
        except Unreachable:
            raise WithCode(504, "M_UNKNOWN", f"{server} does not answer.") from None
        except FederationError:
            raise WithCode(502, "M_UNKNOWN", f"{server} does not list its rooms.") from None

    async def _ask(self, server: str, query: DirectorySearch) -> DirectoryPage:
        return _read_page(server, query.rooms.limit, await self._servers.public_rooms(server, _body(query)))


def weigh_page(page: DirectoryPage) -> int:
    return sum(size_of(room) for room in page.rooms)


def _check(server: str, query: DirectoryQuery) -> None:
    if not is_server_name(server):
        raise InvalidParam("'server' is not the name of a server.")
    if len(query.start or "") > MAX_TOKEN_CHARACTERS:
        raise InvalidParam("The token cannot be read.")
    if len(query.term or "") > MAX_TERM_CHARACTERS:
        raise InvalidParam("The search term is too long.")
    types = query.types or ()
    if len(types) > MAX_TYPES or any(len(one or "") > MAX_TERM_CHARACTERS for one in types):
        raise InvalidParam("Too many room types.")


def _body(query: DirectorySearch) -> Mapping[str, Any]:
    rooms = query.rooms
    wanted: dict[str, Any] = {}
    if rooms.term:
        wanted["generic_search_term"] = rooms.term
    if rooms.types is not None:
        wanted["room_types"] = list(rooms.types)
    body: dict[str, Any] = {"limit": rooms.limit}
    if rooms.start is not None:
        body["since"] = rooms.start
    if wanted:
        body["filter"] = wanted
    if query.are_all_networks_wanted:
        body["include_all_networks"] = True
    elif query.network:
        body["third_party_instance_id"] = query.network
    return body


def _read_page(server: str, limit: int, answer: Mapping[str, Any]) -> DirectoryPage:
    chunk, total = answer.get("chunk"), answer.get("total_room_count_estimate")
    if not isinstance(chunk, list):
        raise InvalidAnswer(server, "the answer has no list of rooms")
    rooms = [room for entry in chunk[:limit] if (room := read_room(entry)) is not None]
    is_number = isinstance(total, int) and not isinstance(total, bool) and 0 <= total <= MAX_INTEGER
    return DirectoryPage(
        rooms, total if is_number else None, _token(answer, "next_batch"), _token(answer, "prev_batch")
    )


def _token(answer: Mapping[str, Any], key: str) -> str | None:
    token = answer.get(key)
    return token if isinstance(token, str) and 0 < len(token) <= MAX_TOKEN_CHARACTERS else None
