"""Builds accounts: registration, login, sessions, devices, profiles."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from popcube_server.building.core import Core
from popcube_server.rest.resource import Authenticator
from popcube_server.services.errors import UnknownToken
from popcube_server.services.requester import Requester


class _Nobody:
    def find_requester(self, token: str) -> Requester | None:
        return None

    async def get_requester(self, token: str) -> Requester:
        raise UnknownToken("The access token is not known.")


@dataclass(frozen=True, slots=True)
class Accounts:
    authenticator: Authenticator
    servlets: Sequence[object] = ()
    parts: Sequence[Any] = field(default_factory=tuple)


def build_accounts(core: Core) -> Accounts:
    return Accounts(_Nobody())
