"""Which thumbnail is made for the size that a client asks for."""

from collections.abc import Sequence
from dataclasses import replace

from storage.media import ThumbnailKey
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.media import ThumbnailSize

MAX_DYNAMIC = 32
"""How many thumbnails one picture may have before sizes are rounded all the same: else a client could fill the disk."""

# Servers SHOULD produce thumbnails with the following dimensions and methods.
SPECIFIED_SIZES = (
    ThumbnailSize(32, 32, "crop"),
    ThumbnailSize(96, 96, "crop"),
    ThumbnailSize(320, 240, "scale"),
    ThumbnailSize(640, 480, "scale"),
    ThumbnailSize(800, 600, "scale"),
)


@dataclass(frozen=True, slots=True)
class WantedThumbnail:
    """What a client asks for; sizes in pixels."""

    width: int
    height: int
    method: str
    """`scale` or `crop`."""
    animated: bool


class ThumbnailSizes:
    """Fixed sizes, or as asked."""

    def __init__(self, configured: Sequence[ThumbnailSize], dynamic: bool) -> None:
        self._sizes = tuple(configured) or SPECIFIED_SIZES
        self._dynamic = dynamic

    def choose(self, wanted: WantedThumbnail, made: Sequence[ThumbnailKey]) -> ThumbnailKey:
        """The thumbnail to give; `made` are those that the picture has."""
        exact = ThumbnailKey(wanted.width, wanted.height, wanted.method, wanted.animated)
        if exact in made or (self._dynamic and len(made) < MAX_DYNAMIC):
            return exact
        return self._round(wanted)

    def _round(self, wanted: WantedThumbnail) -> ThumbnailKey:
        # Servers must never return thumbnails smaller than the client's requested dimensions.
        holding = [
            size for size in self._sizes if size.width >= wanted.width and size.height >= wanted.height
        ]
        if holding:
            # The method asked for comes first; a larger picture of the other kind still holds what is wanted.
            best = min(holding, key=lambda size: (size.method != wanted.method, size.width * size.height))
            return ThumbnailKey(best.width, best.height, best.method, wanted.animated)
        largest = max(self._sizes, key=lambda size: (size.method == wanted.method, size.width * size.height))
        key = ThumbnailKey(largest.width, largest.height, wanted.method, wanted.animated)
        # Doubling keeps the number of sizes small however large the requests are.
        while key.width < wanted.width or key.height < wanted.height:
            key = replace(key, width=key.width * 2, height=key.height * 2)
        return key
