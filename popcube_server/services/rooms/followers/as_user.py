"""Doing something in rooms in the name of a user who did not ask for it just now."""

import logging
from collections.abc import Awaitable

from federation.room_dag.auth_rules.errors import NotAllowed
from popcube_server.services.errors import Refusal
from popcube_server.services.requester import Requester

logger = logging.getLogger(__name__)


def requester_for(user_id: str, *, is_guest: bool = False) -> Requester:
    """The user as a requester without a device."""
    return Requester(user_id, "", "", is_guest=is_guest)


async def try_to(what: str, work: Awaitable[object]) -> bool:
    """Whether it worked. Refusals are logged: there is nobody to tell them to, and they must not stop the others."""
    try:
        await work
    except (Refusal, NotAllowed) as error:
        logger.warning("Could not %s: %s", what, error)
        return False
    return True
