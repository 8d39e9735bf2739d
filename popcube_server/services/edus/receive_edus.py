"""EDUs of other servers: each goes to the service of its type. A bad one is dropped and does not hold up the others.

Source: server-server API, "EDUs".
"""

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from popcube_server.services.edus.edu_content import BadEdu

logger = logging.getLogger(__name__)

MAX_EDU_TYPE = 255


class EduService(Protocol):
    """Takes EDUs of one type."""

    async def receive(self, origin: str, content: Mapping[str, Any]) -> None:
        """Raises `BadEdu` for what is not as it must be; what is merely not for this server is passed over."""


class EduObserver(Protocol):
    """Counts (metrics)."""

    def edu(self, edu_type: str, fate: str) -> None: ...


class ReceiveEdus:
    """Hands EDUs out. `origin` is the server whose signature stands under the transaction."""

    def __init__(self, services: Mapping[str, EduService], observer: EduObserver) -> None:
        self._services = services
        self._observer = observer

    async def receive(self, origin: str, edu_type: str, content: Mapping[str, Any]) -> None:
        """Raises only what is wrong with this server: then the transaction must be sent again."""
        service = self._services.get(edu_type)
        if service is None:
            logger.debug("%s sent an EDU of an unknown type", origin)
            # Its name is not counted: strangers make up any number of them.
            self._observer.edu("other", "dropped")
            return
        try:
            await service.receive(origin, content)
        except BadEdu as error:
            logger.info("%s from %s was dropped: %s", edu_type, origin, error)
            self._observer.edu(edu_type, "dropped")
        else:
            self._observer.edu(edu_type, "taken")
