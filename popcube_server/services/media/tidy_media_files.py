"""Removes what uploads left behind that were cut off with the process."""

import logging
from typing import Protocol

from popcube_server.services.platform import Platform

logger = logging.getLogger(__name__)

# No upload takes longer; with several replicas, the younger ones may be another's that is under way.
AGE_S = 24 * 3600.0


class Leftovers(Protocol):
    """A media store that can tell what was never finished."""

    def remove_leftovers(self, older_than_s: float) -> int:
        """How many files were removed."""


class TidyMediaFiles:
    def __init__(self, platform: Platform, leftovers: Leftovers) -> None:
        self._platform = platform
        self._leftovers = leftovers

    def start(self) -> None:
        removed = self._leftovers.remove_leftovers(self._platform.now_s() - AGE_S)
        if removed:
            logger.info("Removed %d unfinished uploads", removed)

    async def stop(self) -> None:
        """It has no life after the start."""
