"""Profiles of other servers' users, asked for each time. Source: server-server API, "Querying for information"."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from federation.room_dag.identifiers import domain_of
from federation.transport.errors import FederationError, HttpRefusal, Unreachable
from popcube_server.services.errors import NotFound, WithCode

MAX_FIELDS: Final = 1_000


class AskProfile(Protocol):
    async def profile(self, user_id: str) -> Mapping[str, Any]:
        """Raises `FederationError`."""


class AskProfiles:
    def __init__(self, servers: AskProfile) -> None:
        self._servers = servers

    async def get(self, user_id: str) -> Mapping[str, Any]:
        """Every field. Raises `NotFound`; 504 and M_UNKNOWN if the server does not answer, 502 if it makes no sense."""
        try:
            answer = await self._servers.profile(user_id)
        except HttpRefusal as error:
            if error.status in (403, 404):
                raise NotFound("There is no such user, or the profile is not shown.") from None
            raise _failure(502, user_id) from None
        except Unreachable:
            raise _failure(504, user_id) from None
        except FederationError:
            raise _failure(502, user_id) from None
        if len(answer) > MAX_FIELDS:
            raise _failure(502, user_id)
        return answer


def _failure(status: int, user_id: str) -> WithCode:
    return WithCode(status, "M_UNKNOWN", f"{domain_of(user_id)} could not be asked for the profile.")
