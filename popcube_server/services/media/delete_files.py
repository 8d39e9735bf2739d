"""Deletes files of the media store that no record refers to any more."""

from collections.abc import Sequence

from popcube_server.services.platform import Platform
from storage.media_store import MediaStore


async def delete_files(platform: Platform, store: MediaStore, keys: Sequence[str]) -> None:
    """Those that readers have open stay readable to them. A file that cannot be deleted stays, and does no harm."""

    def delete() -> None:
        for key in keys:
            store.delete(key)

    if keys:
        await platform.in_thread(delete)
