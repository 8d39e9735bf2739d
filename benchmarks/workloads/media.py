"""Media up and down."""

import json
import random
from collections.abc import Iterator
from functools import partial

from benchmarks.client import Client
from benchmarks.load import Result, side_by_side
from benchmarks.site import Site
from benchmarks.sizes import Sizes

CLIENTS = 2


class Media:
    """Two clients; each file is new."""

    def __init__(self, site: Site, sizes: Sizes) -> None:
        self._site = site
        self._sizes = sizes
        self._accounts = site.people("photographer", CLIENTS)
        # Always the same bytes: no two runs differ by them.
        self._random = random.Random(1)  # noqa: S311

    def turn(self) -> Iterator[tuple[str, Result]]:
        sizes = self._sizes
        files = [self._random.randbytes(sizes.media_bytes) for _ in range(sizes.media_files * CLIENTS)]
        clients = [self._site.client(account) for account in self._accounts]
        paths: list[str] = []
        waiting = iter(files)
        workers = [partial(self._upload, client, waiting, paths) for client in clients]
        size = "1 MiB" if sizes.media_bytes == 1 << 20 else f"{sizes.media_bytes:,} bytes"
        yield f"upload {size}", self._site.measure(partial(side_by_side, workers, sizes.media_files))
        wanted = iter(paths)
        workers = [partial(self._download, client, wanted) for client in clients]
        yield f"download {size}", self._site.measure(partial(side_by_side, workers, sizes.media_files))

    def _upload(self, client: Client, files: Iterator[bytes], paths: list[str]) -> None:
        path = "/_matrix/media/v3/upload?filename=photo.bin"
        answer = json.loads(client.fetch("POST", path, next(files), "application/octet-stream"))
        paths.append(answer["content_uri"].removeprefix("mxc://"))

    def _download(self, client: Client, paths: Iterator[str]) -> None:
        data = client.fetch("GET", f"/_matrix/client/v1/media/download/{next(paths)}")
        if len(data) != self._sizes.media_bytes:
            raise RuntimeError(f"{len(data)} bytes came back")
