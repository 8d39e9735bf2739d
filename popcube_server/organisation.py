"""One organisation's object graph, built in one place by plain constructors.

Nothing here is shared with another organisation of the same process but the platform (clock, threads) and the
listeners. Read from `build_organisation` downwards to see what the server is made of.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from federation.room_dag.signing import EventSigner
from federation.sending.sending_duty import DUTY
from federation.sites.duties.duty import SoleDuty
from federation.sites.site_peers import SitePeers
from federation.transport.network import Network
from popcube_server.building.accounts import Accounts, build_accounts
from popcube_server.building.core import Core, SiteCore
from popcube_server.building.edus import Edus, build_edus
from popcube_server.building.federation import Federation, build_federation
from popcube_server.building.federation_rooms import (
    InboundRooms,
    RemoteRooms,
    build_inbound_rooms,
    build_remote_rooms,
)
from popcube_server.building.followers import Followers, build_followers
from popcube_server.building.history import History, build_history
from popcube_server.building.keys import EndToEnd, KeyNeeds, build_keys
from popcube_server.building.load_sites import load_duties, load_sites, load_witness
from popcube_server.building.media import Media, build_media
from popcube_server.building.profiles import build_profiles
from popcube_server.building.push import Push, build_push
from popcube_server.building.remote_queries import RemoteQueries, build_remote_queries
from popcube_server.building.room_reads import RemoteReads, RoomReads, build_room_reads
from popcube_server.building.rooms import RoomBase, RoomNeeds, Rooms, build_room_base, build_rooms
from popcube_server.building.search import Search, build_search
from popcube_server.building.sending import Sending, build_sending
from popcube_server.building.server import ServerPart, build_server
from popcube_server.building.site_keys import KeysAtSites, build_keys_at_sites
from popcube_server.building.sync import SyncNeeds, SyncPart, build_sync
from popcube_server.building.user_data import UserData, build_user_data
from popcube_server.ending import Ending
from popcube_server.metrics import Metrics
from popcube_server.rest.front_door.site import Site
from popcube_server.rest.router import Router
from popcube_server.rest.sites.reload import SiteReload
from popcube_server.services.keys.device_cleanup import DeviceCleanup
from popcube_server.services.platform import Platform
from popcube_server.services.push.pushers import PusherCleanup
from popcube_server.services.sites.reload_sites import ReloadSites
from storage.committer import CommitLimits, Committer, OnThisDisk
from storage.database import Database, ThreadRunner
from storage.engines.engine import Engine
from storage.log import Log, LogRepository
from storage.migrate import migrate
from storage.names import Names
from storage.replication.own_records import NoRecords, OwnRecords
from storage.to_device_sorting import sort_leftover
from synapse_like_config.config import ServerConfig
from synapse_like_config.lazy_dataclasses import dataclass

NAMES_CACHE_SIZE = 200_000
LOG_TAIL_SIZE = 20_000


class Running(Protocol):
    """Something with a life of its own: timers, followers, files."""

    def start(self) -> None: ...

    async def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Threads:
    """Where an organisation's database work runs."""

    read: ThreadRunner
    write: ThreadRunner


class LongPolls(Protocol):
    """Requests that wait for something to happen."""

    def release(self) -> None:
        """Let all of them be answered now, and later ones at once."""


class NoLongPolls:
    """Nobody waits at a witness."""

    def release(self) -> None:
        return


class Organisation:
    """A running organisation: its front door, and its life."""

    def __init__(
        self,
        core: Core,
        site: Site,
        link_site: Site | None,
        parts: Sequence[Running],
        long_polls: LongPolls,
        site_peers: SitePeers | None,
        reload: ReloadSites,
    ) -> None:
        self.server_name = core.server_name
        self.site = site
        self.link_site = link_site
        """What the other sites of the organisation reach, on a listener of their own; None if there are none."""
        self.core = core
        self.site_peers = site_peers
        """The other sites of the organisation; None if it has one."""
        self.reload = reload
        self._parts = parts
        self._long_polls = long_polls

    def start(self) -> None:
        """Begin background work. The database is already open and at the newest schema."""
        for part in self._parts:
            part.start()

    def release_waiting(self) -> None:
        """Answer the requests that only wait: the server is about to stop."""
        self._long_polls.release()

    async def stop(self) -> None:
        """End background work, and let what was submitted reach the disk, for at most `popcube.shutdown_grace`."""
        ending = Ending(self.core.platform.clock, self.core.config.popcube.shutdown_grace_ms / 1000)
        for part in reversed(self._parts):
            await ending.end(type(part).__name__, part.stop())
        if self.site_peers is not None:
            await ending.end("The links to other sites", self.site_peers.close())
        await ending.end("What is to be written", self.core.committer.drain())

    def close(self) -> None:
        """Close the data, after `stop`; no thread may be at work on it any more."""
        self.core.database.close()


def build_core(
    config: ServerConfig,
    signer: EventSigner,
    engine: Engine,
    platform: Platform,
    threads: Threads,
    on_migration: Callable[[int], None],
) -> Core:
    """Open the database, bring it to the newest schema, and make what everything stands on."""
    metrics = Metrics()
    database = Database(engine, threads.read, threads.write, Names(NAMES_CACHE_SIZE))
    migrate(engine, database, on_migration)
    sort_leftover(database)
    log = Log(LOG_TAIL_SIZE)
    log.start_at(database.read_now(LogRepository().get_position))
    metrics.watch_log_position(lambda: log.position)
    limits = CommitLimits(config.popcube.commit.max_batch, config.popcube.commit.max_waiting)
    sites = (
        None
        if config.sites is None
        else load_sites().build_site_core(config.sites, engine, database, log, metrics, platform)
    )
    committer = Committer(
        database,
        log,
        metrics,
        platform.now_ms,
        platform.now_s,
        limits,
        NoRecords() if sites is None else OwnRecords(sites.config.name, sites.clock),
        OnThisDisk() if sites is None or sites.durability is None else sites.durability,
    )
    return Core(config, config.server.server_name, signer, platform, metrics, database, log, committer, sites)


def build_witness(core: Core, site_peers: SitePeers, reload: ReloadSites) -> Organisation:
    """A site that stores nothing but its votes."""
    witness = load_witness().build_witness_sites(core, site_peers, reload)
    return Organisation(core, witness.site, witness.link_site, (), NoLongPolls(), site_peers, reload)


@dataclass(frozen=True, slots=True)
class _Areas:
    """What an organisation is made of."""

    room_base: RoomBase
    server: ServerPart
    federation: Federation
    sending: Sending
    keys_at_sites: KeysAtSites
    edus: Edus
    accounts: Accounts
    push: Push
    queries: RemoteQueries
    remote: RemoteRooms
    rooms: Rooms
    history: History
    room_reads: RoomReads
    user_data: UserData
    media: Media
    end_to_end: EndToEnd
    sync: SyncPart
    followers: Followers
    search: Search
    inbound: InboundRooms


def build_organisation(core: Core, network: Network, load: Callable[[], ServerConfig]) -> Organisation:
    """Everything over the core.

    `load` reads the configuration again, while the server runs; it raises `ConfigError` or OSError. This raises what
    `SitePeers` raises. A witness is all that its configuration asks for, if it says so.
    """
    site_peers = (
        None if core.sites is None else SitePeers(core.sites.config, core.signer, network.connect_site)
    )
    reload = ReloadSites(core.config, load, site_peers, core.committer.commit)
    if core.sites is not None and core.sites.config.witness and site_peers is not None:
        return build_witness(core, site_peers, reload)
    areas = _build_areas(core, network, site_peers)
    federation, accounts = areas.federation, areas.accounts
    site = Site(
        Router(_servlets(core, areas)),
        accounts.authenticator,
        federation.authenticator,
        federation.turns,
        core.metrics,
    )
    parts = _parts(areas)
    link_site = None
    if core.sites is not None and site_peers is not None:
        link_site, link_parts = _build_links(core, core.sites, site_peers, areas, reload)
        parts.extend(link_parts)
    else:
        parts.append(SoleDuty(areas.sending.work))
    return Organisation(core, site, link_site, parts, areas.sync.notifier, site_peers, reload)


def _build_areas(core: Core, network: Network, site_peers: SitePeers | None) -> _Areas:
    """The order is the order of dependencies."""
    server = build_server(core)
    room_base = build_room_base(core)
    federation = build_federation(core, network, site_peers)
    sending = build_sending(core, room_base, federation)
    keys_at_sites = build_keys_at_sites(core, site_peers)
    edus = build_edus(core, room_base, sending, federation.metrics, keys_at_sites.elsewhere)
    accounts = build_accounts(core, (DeviceCleanup(), PusherCleanup()))
    push = build_push(core)
    queries = build_remote_queries(core, sending.ask)
    remote = build_remote_rooms(core, room_base, federation, push.outcomes)
    room_needs = RoomNeeds(
        push.outcomes,
        accounts.suspensions,
        remote.rooms,
        queries.aliases,
        remote.send_recommended,
        federation.identity,
    )
    rooms = build_rooms(core, room_base, room_needs)
    history = build_history(core, room_base, federation)
    remote_reads = RemoteReads(queries, sending.servers)
    room_reads = build_room_reads(core, room_base, push.personal, remote_reads, history)
    user_data = build_user_data(core, room_base, push, room_reads.event_json, edus.typing_notices)
    media = build_media(core, federation, network, site_peers)
    key_needs = KeyNeeds(
        rooms.transactions,
        accounts.confirmation,
        sending.remote_keys,
        keys_at_sites.elsewhere,
        sending.outgoing_messages,
        room_base.places,
        room_base.user_rooms,
    )
    end_to_end = build_keys(core, key_needs)
    sync = build_sync(core, room_base, SyncNeeds(room_reads, user_data, end_to_end, push.personal))
    followers = build_followers(core, room_base, rooms, push.rules)
    search = build_search(core, room_base, room_reads)
    inbound = build_inbound_rooms(
        core, room_base, federation, remote, rooms.writer, rooms.membership_limits, edus.receiver
    )
    return _Areas(
        room_base,
        server,
        federation,
        sending,
        keys_at_sites,
        edus,
        accounts,
        push,
        queries,
        remote,
        rooms,
        history,
        room_reads,
        user_data,
        media,
        end_to_end,
        sync,
        followers,
        search,
        inbound,
    )


def _servlets(core: Core, areas: _Areas) -> Sequence[object]:
    """What clients and other servers reach."""
    return (
        *areas.server.servlets,
        *areas.federation.servlets,
        *areas.inbound.servlets,
        *areas.media.servlets,
        *areas.accounts.servlets,
        *build_profiles(core, areas.queries.profiles),
        *areas.rooms.servlets,
        *areas.room_reads.servlets,
        *areas.user_data.servlets,
        *areas.end_to_end.servlets,
        *areas.edus.servlets,
        *areas.sync.servlets,
        *areas.search.servlets,
    )


def _parts(areas: _Areas) -> list[Running]:
    """In the order in which they start; they stop in the other direction."""
    return [
        *areas.federation.parts,
        *areas.inbound.parts,
        areas.history.backfill,
        *areas.accounts.parts,
        *areas.media.parts,
        *areas.user_data.parts,
        *areas.end_to_end.parts,
        *areas.followers.parts,
        *areas.search.parts,
        *areas.edus.parts,
    ]


def _build_links(
    core: Core, site_core: SiteCore, site_peers: SitePeers, areas: _Areas, reload: ReloadSites
) -> tuple[Site, Sequence[Running]]:
    """What the other sites of the organisation reach, and what reaches them."""
    sites = load_sites().build_sites(core, site_core, areas.room_base, site_peers, areas.remote, areas.push)
    duties = load_duties().build_duties(core, site_core, site_peers, {DUTY: areas.sending.work})
    servlets = (
        *sites.servlets,
        SiteReload(sites.name, reload),
        *areas.keys_at_sites.servlets,
        *areas.media.link_servlets,
        *duties.servlets,
        *areas.inbound.servlets,
    )
    link_site = Site(
        Router(servlets),
        areas.accounts.authenticator,
        sites.authenticator,
        areas.federation.site_turns,
        core.metrics,
    )
    return link_site, (*sites.parts, *duties.parts)
