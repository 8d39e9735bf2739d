"""Notes which media somebody looked at: in memory first, so that looking costs no write."""

from popcube_server.services.media.write_uses import WriteUses
from popcube_server.services.periodic import Periodic
from popcube_server.services.platform import Platform

INTERVAL_S = 60.0


class MediaUses:
    """Written once a minute, and at the end. What a killed process had noted since is lost."""

    def __init__(self, platform: Platform, write_uses: WriteUses) -> None:
        self._platform = platform
        self._write_uses = write_uses
        self._noted: dict[str, int] = {}
        self._periodic = Periodic(platform, "Writing which media are in use", INTERVAL_S, self.write)

    def start(self) -> None:
        self._periodic.start()

    async def stop(self) -> None:
        await self._periodic.stop()
        await self.write()

    def note(self, file_key: str) -> None:
        """Somebody looks at this file, or at a thumbnail of it."""
        self._noted[file_key] = self._platform.now_ms()

    async def write(self) -> None:
        """Write down what was noted."""
        noted, self._noted = list(self._noted.items()), {}
        if noted:
            await self._write_uses.write(noted)
