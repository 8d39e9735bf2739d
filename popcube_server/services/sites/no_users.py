"""A witness has no users: no token is anybody's."""

from popcube_server.services.errors import UnknownToken
from popcube_server.services.requester import Requester


class NoUsers:
    def find_requester(self, token: str) -> Requester | None:
        return None

    async def get_requester(self, token: str) -> Requester:
        raise UnknownToken("A witness has no users.")

    def saw(self, requester: Requester, client_address: str, user_agent: str) -> None:
        return
