"""What many share and nobody may take for themselves: places in a queue, bytes of memory."""

from collections import Counter

from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ShareLimits:
    """Of `total`, one holder gets at most `most`; when many want some, all that there is by their number, and never
    less than `least`. Whoever is within `least` is never refused because of others.
    """

    total: int
    most: int
    least: int


class FairShares:
    """How much each holder has. Holders that have nothing cost nothing."""

    def __init__(self, limits: ShareLimits) -> None:
        self._limits = limits
        self._held: Counter[str] = Counter()
        self.used = 0

    def has_room(self, holder: str, amount: int) -> bool:
        """Whether the holder may have this much more."""
        if not amount:
            # Who has more than its share since others came may still do what takes nothing.
            return True
        held = self._held.get(holder, 0)
        others = len(self._held) + (holder not in self._held)
        limits = self._limits
        share = max(limits.least, min(limits.most, limits.total // others))
        if self.used + amount > limits.total:
            # Nothing is left: what the least share promises is kept all the same.
            share = limits.least
        return held + amount <= share

    def take(self, holder: str, amount: int) -> None:
        self._held[holder] += amount
        self.used += amount

    def give_back(self, holder: str, amount: int) -> None:
        self._held[holder] -= amount
        self.used -= amount
        if self._held[holder] <= 0:
            del self._held[holder]

    @property
    def holders(self) -> int:
        return len(self._held)
