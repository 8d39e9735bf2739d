"""What a peer site sends of its log."""

import logging
from collections.abc import Mapping
from typing import Any

from federation.rooms.accept_event import MissingEvents
from federation.rooms.receiving.fetch_missing import StateUnavailable
from federation.sites.batch import VERSION, Acknowledgement, InvalidBatch, parse_batch
from federation.sites.link import SiteLink
from federation.sites.take_batch import TakeBatch
from federation.transport.errors import FederationError
from popcube_server.services.errors import BadJson, NotAllowed, WithCode
from storage.held_back import NoRoomToHold

logger = logging.getLogger(__name__)


class ReceiveChanges:
    """Answers peers; and has what waits for one of them go out now that it is heard of."""

    def __init__(self, own_log: str, take: TakeBatch, links: Mapping[str, SiteLink]) -> None:
        self.own_log = own_log
        """The ID of this site's log."""
        self.versions = (VERSION,)
        """Of the format of batches that are read here."""
        self._take = take
        self._links = links

    async def get_cursor(self, site: str, log: str) -> int:
        """How much of a log of the peer is on disk here."""
        self._heard_of(site)
        return await self._take.get_cursor(log)

    async def receive(self, site: str, body: Mapping[str, Any]) -> Acknowledgement:
        """On disk when it returns.

        Raises `BadJson`, `NotAllowed`; `WithCode` with 503 if the batch needs what cannot be had at the moment.
        """
        self._heard_of(site)
        try:
            batch = parse_batch(body)
            if batch.site != site:
                raise NotAllowed("The batch is of another site than the one that signed the request.")
            return await self._take.take(batch)
        except InvalidBatch as error:
            raise BadJson(str(error)) from None
        except (FederationError, StateUnavailable, MissingEvents) as error:
            logger.warning("What site %s sent stands on what cannot be had: %s", site, error)
            raise WithCode(503, "M_UNKNOWN", str(error)) from None
        except NoRoomToHold as error:
            logger.error("What site %s sent is not taken: %s", site, error)
            raise WithCode(503, "M_RESOURCE_LIMIT_EXCEEDED", str(error)) from None

    def _heard_of(self, site: str) -> None:
        link = self._links.get(site)
        if link is not None:
            link.try_now()
