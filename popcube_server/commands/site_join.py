"""`popcube-server site join`: fill a new site with everything that another one has.

The other site writes a copy of its database while it goes on; this one fetches it in pieces (an interrupted download
goes on where it was), loads it, and begins a log of its own where the copy ends. Then it fetches the files of all
media, unless that is left to the server. What happens meanwhile comes over the links once the server runs.
"""

import argparse
import hashlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import deferLater

from federation.sites.site_client import LINK, SiteClient
from popcube_server.commands.site_calls import call, peer_client, sites_section
from popcube_server.commands.site_errors import SiteCommandFailed
from popcube_server.commands.site_media import FetchAllMedia
from popcube_server.services.sites.secret_check import secret_check
from storage.copying import InvalidCopy, LoadCopy, is_empty
from storage.database import Database, Transaction, WriteTransaction
from storage.engines.choose import choose_engine
from storage.engines.engine import Engine
from storage.media_files import LocalMediaFiles
from storage.migrate import migrate
from storage.missing_media import MissingMediaRepository, miss_everything
from storage.names import Names
from storage.site_links import COPYING, SiteLinksRepository, set_log_id, share_log
from synapse_like_config.config import ServerConfig
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.load import load_config

SUMMARY = "fill this new site with everything that another one has"
POLL_S = 0.5
BAR_WIDTH = 30


@dataclass(frozen=True, slots=True)
class Fetched:
    """A copy that is here."""

    path: Path
    new_log: str
    peer_log: str
    position: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="peer", required=True, metavar="SITE", help="the peer to copy")
    parser.add_argument(
        "--media",
        choices=("now", "later"),
        default="now",
        help="fetch the files of media before the server starts, or leave it to the server (default: now)",
    )


def run(arguments: argparse.Namespace) -> int:
    config = load_config(arguments.config_path).config
    sites = sites_section(config)
    engine = choose_engine(config.database)
    database = Database(engine, _at_once, _at_once, Names(10_000))
    migrate(engine, database, lambda number: None)
    lacks_only_media = _check_may_be_filled(database)
    beside_media = config.media.media_store_path.parent / "site-copies"
    directory = sites.copies_path or beside_media
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    bar = _Bar()

    async def join(reactor: Any) -> None:
        if not lacks_only_media:
            fetched = await _fetch(config, arguments.peer, directory, bar, reactor)
            _load(engine, database, fetched, bar)
            fetched.path.unlink()
            print(f"This site begins at position {fetched.position}, as log {fetched.new_log}.")
        if arguments.media == "now":
            await _fetch_media(config, arguments.peer, database, bar, reactor)

    call(join)
    database.close()
    print("Start the server.")
    return 0


def _at_once(function: Any) -> "Deferred[Any]":
    return execute(function)


def _check_may_be_filled(database: Database) -> bool:
    """Whether it is filled already, and only files of media are missing."""

    def read(tx: Transaction) -> tuple[bool, str | None, int]:
        return is_empty(tx), SiteLinksRepository().find_log_id(tx), MissingMediaRepository().count(tx).files

    empty, log_id, missing = database.read_now(read)
    if empty or log_id == COPYING:
        return False
    if not missing:
        # Whoever types this on the wrong machine must not lose what may be the only copy.
        raise SiteCommandFailed(
            "This database is in use: nothing was changed. A site is filled into a new, empty database."
        )
    return True


async def _fetch(config: ServerConfig, peer: str, directory: Path, bar: "_Bar", reactor: Any) -> Fetched:
    client = peer_client(config, peer, reactor)
    state = await client.post(peer, LINK + "copies", {})
    if state["secret_check"] != secret_check(config):
        raise SiteCommandFailed(
            f"macaroon_secret_key or server_name is not that of site {peer}: access tokens would not be good here."
        )
    copy = f"{LINK}copies/{state['copy_id']}"
    while not state["ready"]:
        if state["error"] is not None:
            raise SiteCommandFailed(f"Site {peer} could not write the copy: {state['error']}")
        bar.draw("writing the copy there", state["rows_done"], state["rows"])
        await deferLater(reactor, POLL_S, lambda: None)
        state = await client.get(peer, copy)
    path = directory / f"{state['copy_id']}.fetched"
    await _download(client, copy, state, path, bar)
    cursor = await client.get(peer, LINK + "cursor", {"log": state["new_log"]})
    await client.delete(copy)
    return Fetched(path, state["new_log"], cursor["log"], state["position"])


async def _download(client: SiteClient, copy: str, state: Mapping[str, Any], path: Path, bar: "_Bar") -> None:
    size = state["size_bytes"]
    download = _Download(path)
    while download.offset < size:
        piece = await client.get_bytes(f"{copy}/content", {"offset": str(download.offset)})
        if not piece:
            break
        download.add(piece)
        bar.draw("fetching the copy", download.offset, size)
    download.check(state["sha256"])


class _Download:
    """A file that grows, also over several runs of the command."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.offset = path.stat().st_size if path.exists() else 0

    def add(self, piece: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(piece)
        self.offset += len(piece)

    def check(self, sha256: str) -> None:
        """Raises `SiteCommandFailed`, and then the file is gone."""
        with self._path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != sha256:
            self._path.unlink()
            raise SiteCommandFailed("The copy arrived damaged and was thrown away: try again.")


def _load(engine: Engine, database: Database, fetched: Fetched, bar: "_Bar") -> None:
    # From here on the database is of no use until this has run to its end.
    database.write_now(lambda tx: set_log_id(tx, COPYING))
    try:
        LoadCopy(engine, database, frozenset(("site_log",))).load(
            fetched.path, lambda done, rows: bar.draw("loading", done, rows)
        )
    except InvalidCopy as error:
        raise SiteCommandFailed(str(error)) from error

    def begin(tx: WriteTransaction) -> None:
        share_log(tx, fetched.peer_log, fetched.position)
        miss_everything(tx)
        set_log_id(tx, fetched.new_log)

    database.write_now(begin)


async def _fetch_media(
    config: ServerConfig, first: str, database: Database, bar: "_Bar", reactor: Any
) -> None:
    peers = [peer.name for peer in sites_section(config).peers if not peer.witness]
    files = LocalMediaFiles(config.media.media_store_path)
    files.prepare()
    sites = [
        peer_client(config, name, reactor) for name in sorted(peers, key=lambda name: (name != first, name))
    ]
    missing = await FetchAllMedia(database, files, sites, reactor).run(
        lambda done, whole: bar.draw("fetching media", done, whole)
    )
    if missing:
        print(f"{missing} files of media could not be had now: the server goes on trying.", file=sys.stderr)


class _Bar:
    """What was drawn last: drawing takes longer than most steps."""

    def __init__(self) -> None:
        self._drawn_s = 0.0

    def draw(self, what: str, done: int, whole: int) -> None:
        now_s = time.monotonic()
        if done < whole and now_s - self._drawn_s < 0.1:
            return
        self._drawn_s = now_s
        part = done / whole if whole else 0.0
        filled = "#" * int(part * BAR_WIDTH)
        end = "\n" if whole and done >= whole else ""
        sys.stderr.write(f"\r{what:<24} [{filled:<{BAR_WIDTH}}] {100 * part:5.1f} %{end}")
        sys.stderr.flush()
