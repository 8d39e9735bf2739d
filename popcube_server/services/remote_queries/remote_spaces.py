"""Rooms and spaces that this server is not in, as other servers show them. Source: server-server API, `/hierarchy`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from federation.room_dag.identifiers import is_server_name
from federation.transport.errors import FederationError, InvalidAnswer
from popcube_server.services.remote_queries.checked_rooms import read_children, read_room, size_of
from popcube_server.services.remote_queries.question_limits import Question
from popcube_server.services.remote_queries.remembered_answers import RememberedAnswers
from popcube_server.services.rooms.room_summaries import SPACE, RoomSummary
from synapse_like_config.lazy_dataclasses import dataclass

MAX_SERVERS: Final = 3
"""So many servers are asked for a room before it counts as not to be found."""


@dataclass(frozen=True, slots=True)
class RemoteSpace:
    """A room, and what the server that was asked knows of its children."""

    server: str
    room: RoomSummary
    children: Mapping[str, RoomSummary]
    """By room ID; only children of the room, and without children of their own."""
    inaccessible: frozenset[str]
    """Children that this server's users cannot see."""


class AskHierarchy(Protocol):
    async def hierarchy(self, server: str, room_id: str) -> Mapping[str, Any]:
        """Raises `FederationError`."""


class RemoteSpaces:
    def __init__(
        self,
        servers: AskHierarchy,
        answers: RememberedAnswers[tuple[str, str], RemoteSpace],
        server_name: str,
    ) -> None:
        self._servers = servers
        self._answers = answers
        self._server_name = server_name

    async def find(self, asker: str, room_id: str, servers: Sequence[str]) -> RemoteSpace | None:
        """The room, as the first of the servers shows it that does. Raises `LimitExceeded`."""
        for server in self._to_ask(servers):
            try:
                return await self._answers.get(
                    Question(asker, server),
                    (server, room_id),
                    lambda server=server: self._ask(server, room_id),  # type: ignore[misc]
                )
            except FederationError:
                continue
        return None

    def _to_ask(self, servers: Sequence[str]) -> Sequence[str]:
        others = (server for server in servers if server != self._server_name and is_server_name(server))
        return list(dict.fromkeys(others))[:MAX_SERVERS]

    async def _ask(self, server: str, room_id: str) -> RemoteSpace:
        answer = await self._servers.hierarchy(server, room_id)
        shown = answer.get("room")
        room = read_room(shown)
        if room is None or room.room_id != room_id or not isinstance(shown, dict):
            raise InvalidAnswer(server, "the answer is not about the room")
        # "If the room is not a space-room, this should be empty."
        children = read_children(shown.get("children_state")) if room.type == SPACE else ()
        named = {child.room_id for child in children}
        return RemoteSpace(
            server,
            replace(room, children=children),
            _read_rooms(answer.get("children"), named),
            _read_inaccessible(answer.get("inaccessible_children"), named),
        )


def weigh_space(space: RemoteSpace) -> int:
    return size_of(space.room) + sum(size_of(room) for room in space.children.values())


def _read_rooms(value: Any, named: Collection[str]) -> dict[str, RoomSummary]:
    """Those that the space names: what is said of other rooms is none of its business."""
    rooms = (read_room(entry) for entry in (value if isinstance(value, list) else ()))
    return {room.room_id: room for room in rooms if room is not None and room.room_id in named}


def _read_inaccessible(value: Any, named: Collection[str]) -> frozenset[str]:
    room_ids = value if isinstance(value, list) else ()
    return frozenset(room_id for room_id in room_ids if isinstance(room_id, str) and room_id in named)
