"""One-time keys that other sites of the organization give out."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from storage.one_time_keys import OneTimeKey

Pool = tuple[str, str, str]
"""User ID, device ID and algorithm."""


class KeysElsewhere(Protocol):
    """Asks them."""

    async def claim(self, pools: Sequence[Pool]) -> Mapping[Pool, OneTimeKey]:
        """A key of each pool of which a site gave one. Never raises for a site that does not answer."""


class NoOtherSites:
    """`KeysElsewhere` of an organization on one site."""

    async def claim(self, pools: Sequence[Pool]) -> Mapping[Pool, OneTimeKey]:
        return {}
