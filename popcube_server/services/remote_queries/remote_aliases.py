"""Where other servers' aliases lead. Source: server-server API, `/query/directory`."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from federation.room_dag.identifiers import domain_of, is_room_id, is_server_name
from federation.transport.errors import FederationError, HttpRefusal, InvalidAnswer, Unreachable
from popcube_server.services.errors import NotFound, WithCode
from popcube_server.services.remote_queries.question_limits import Question
from popcube_server.services.remote_queries.remembered_answers import RememberedAnswers
from synapse_like_config.lazy_dataclasses import dataclass

MAX_SERVERS: Final = 50
"""Enough to join through; a list that is longer is cut."""


@dataclass(frozen=True, slots=True)
class RemoteAlias:
    room_id: str
    servers: tuple[str, ...]
    """Through which the room may be joined; the server that was asked is one of them."""


class AskDirectory(Protocol):
    async def directory(self, alias: str) -> Mapping[str, Any]:
        """Raises `FederationError`."""


class RemoteAliases:
    def __init__(self, servers: AskDirectory, answers: RememberedAnswers[str, RemoteAlias]) -> None:
        self._servers = servers
        self._answers = answers

    async def get(self, asker: str, alias: str) -> RemoteAlias:
        """Where a valid alias of another server leads.

        Raises `NotFound`, `LimitExceeded`; M_UNKNOWN with 504 if its server does not answer, with 502 if it makes no
        sense.
        """
        question = Question(asker, domain_of(alias))
        try:
            return await self._answers.get(question, alias, lambda: self._ask(alias))
        except HttpRefusal as error:
            # "404: The room alias was not found." Some servers say it with M_FORBIDDEN or M_INVALID_PARAM.
            if 400 <= error.status < 500 and error.status != 429:
                raise NotFound(f"The room alias {alias} does not exist.") from None
            raise _failure(502, alias) from None
        except Unreachable:
            raise _failure(504, alias) from None
        except FederationError:
            raise _failure(502, alias) from None

    async def _ask(self, alias: str) -> RemoteAlias:
        answer = await self._servers.directory(alias)
        room_id, servers = answer.get("room_id"), answer.get("servers")
        if not isinstance(room_id, str) or not is_room_id(room_id):
            raise InvalidAnswer(domain_of(alias), "the alias leads to no room")
        named = (
            server
            for server in (servers[:MAX_SERVERS] if isinstance(servers, list) else ())
            if isinstance(server, str) and is_server_name(server)
        )
        # "This list may or may not include the server answering the query."
        return RemoteAlias(room_id, tuple(dict.fromkeys((domain_of(alias), *named))))


def weigh_alias(alias: RemoteAlias) -> int:
    return 2 * len(alias.room_id) + sum(100 + len(server) for server in alias.servers)


def _failure(status: int, alias: str) -> WithCode:
    return WithCode(status, "M_UNKNOWN", f"{domain_of(alias)} could not be asked for the alias.")
