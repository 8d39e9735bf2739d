"""Builds the links to the other sites of the organisation."""

from collections.abc import Iterable, Mapping, Sequence

from federation.rooms.accept_event import AcceptEvent
from federation.rooms.receiving.fetch_missing import FetchMissing
from federation.rooms.receiving.keep_outliers import KeepOutliers
from federation.rooms.receiving.receive_pdu import FETCHING_AT_ONCE, ReceivePdu
from federation.rooms.receiving.remote import AskServers
from federation.rooms.take_room import TakeRoom
from federation.sites.batch import LogName
from federation.sites.durability import SiteDurability
from federation.sites.hold_events import HoldEvents
from federation.sites.link import SiteLink
from federation.sites.links import SiteLinks
from federation.sites.peer_verdicts import PeerVerdicts
from federation.sites.pipeline import PeerPipeline
from federation.sites.place_event import PeerRooms, PlaceSiteEvent
from federation.sites.read_batch import ReadBatch
from federation.sites.retry_held import RetryHeld
from federation.sites.site_client import LinkClient, SiteClient
from federation.sites.site_peers import SitePeers
from federation.sites.take_batch import TakeBatch
from federation.turns import FairTurns
from popcube_server.building.core import Core, SiteCore
from popcube_server.building.federation_rooms import RemoteRooms
from popcube_server.building.push import Push
from popcube_server.building.rooms import RoomBase
from popcube_server.metrics import Metrics
from popcube_server.rest.sites.copies import SiteCopies, SiteStatusServlet
from popcube_server.rest.sites.links import SiteLinksServlet
from popcube_server.services.periodic import Periodic
from popcube_server.services.platform import Platform
from popcube_server.services.sites.authenticate_site import AuthenticateSite
from popcube_server.services.sites.give_copy import LOCAL_TABLES, GiveCopy
from popcube_server.services.sites.receive_changes import ReceiveChanges
from popcube_server.services.sites.secret_check import secret_check
from popcube_server.services.sites.site_status import SiteStatus
from popcube_server.site_metrics import LinkMetrics, SiteMetrics, publish_held
from storage.committer import PeerCommitter
from storage.copying import WriteCopy
from storage.database import Database
from storage.engines.engine import Engine, StorageError
from storage.forget_told import ForgetTold
from storage.log import Log
from storage.replication.apply_records import ApplyRecords
from storage.replication.export_records import ExportRecords
from storage.replication.hybrid_clock import HybridClock
from storage.replication.kinds.all_kinds import ALL_KINDS
from storage.replication.own_site import LoseSites, become_site
from storage.site_links import COPYING, SiteLinksRepository, ThinSiteMarks
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.sites import SitesConfig

THINNING_INTERVAL_S = 3600.0
RETRY_INTERVAL_S = 30.0


class DurabilityEnd:
    """Stopped after the links: nothing waits for a peer any more."""

    def __init__(self, durability: SiteDurability) -> None:
        self._durability = durability

    def start(self) -> None:
        return

    async def stop(self) -> None:
        self._durability.stop()


@dataclass(frozen=True, slots=True)
class Sites:
    """The links of this site (`name`). `servlets` and `authenticator` are for the listener that only sites reach."""

    name: str
    parts: Sequence[SiteLinks | DurabilityEnd | Periodic]
    authenticator: AuthenticateSite
    servlets: Sequence[object]


class HalfCopied(StorageError):
    """`site join` was interrupted: the database is of no use until it has run to its end."""


def build_site_core(
    config: SitesConfig, engine: Engine, database: Database, log: Log, metrics: Metrics, platform: Platform
) -> SiteCore:
    """What the committer needs, before there are links. Raises `HalfCopied`."""
    log_id = database.read_now(SiteLinksRepository().find_log_id)
    if log_id == COPYING:
        raise HalfCopied("the copy of the other site is not complete: run `popcube-server site join` again")
    peers = [peer.name for peer in config.peers]
    database.write_now(lambda tx: become_site(tx, config.name, log_id or config.name, peers))
    durability = None
    if config.durability == "site":
        durability = SiteDurability(
            platform.clock, config.fall_back_after_ms / 1000, lambda: log.position, SiteMetrics(metrics)
        )
    return SiteCore(config, log_id or config.name, engine, HybridClock(platform.now_ms), durability)


def build_sites(
    core: Core, sites: SiteCore, base: RoomBase, site_peers: SitePeers, remote: RemoteRooms, push: Push
) -> Sites:
    """Everything over the core of an organisation on several sites."""
    config = sites.config
    hold = HoldEvents(core.database, core.committer, core.platform.now_ms)
    # One for batches and one for what is tried again: each waits for the events that it placed itself.
    place, place_held = (
        PlaceSiteEvent(
            _rooms_of_peers(core, base, remote, push, site_peers),
            base.rooms,
            base.events,
            remote.check,
            hold,
            core.server_name,
        )
        for _ in range(2)
    )
    apply = ApplyRecords(config.name, ALL_KINDS, sites.clock)
    retry = RetryHeld(core.database, core.committer, core.log, apply, place_held, core.platform.now_ms)
    publish_held(core.metrics, retry)
    take = TakeBatch(core.database, core.committer, apply, place, core.platform.sleep)
    read = ReadBatch(LogName(config.name, sites.log_id), core.database, ExportRecords(ALL_KINDS))
    links = SiteLinks(
        site_peers,
        lambda peer: _link(core, LinkClient(peer.client, sites.log_id), peer.name, read, sites.durability),
        LinkMetrics(core.metrics, core.platform.now_ms),
    )
    status = SiteStatus(
        config.name,
        sites.log_id,
        core.log,
        core.database,
        links,
        sites.durability,
        core.platform.now_ms,
    )
    servlets = (
        SiteLinksServlet(ReceiveChanges(sites.log_id, take, links)),
        SiteCopies(_give_copy(core, sites), secret_check(core.config)),
        SiteStatusServlet(config.name, status),
    )
    authenticator = AuthenticateSite(config.name, core.signer, site_peers)
    thin = Periodic(
        core.platform,
        "Thinning the marks of sites",
        THINNING_INTERVAL_S,
        lambda: _thin(core, links, site_peers),
    )
    retrying = Periodic(core.platform, "Trying again what was kept", RETRY_INTERVAL_S, retry.run)
    return Sites(config.name, (*_ends(sites), thin, retrying, links), authenticator, servlets)


async def _thin(core: Core, links: SiteLinks, site_peers: SitePeers) -> None:
    # Others that were not told yet that a site is none any more go on telling of its keys.
    await core.committer.commit(ThinSiteMarks(), ForgetTold(tuple(links)), LoseSites(tuple(site_peers)))


def _give_copy(core: Core, sites: SiteCore) -> GiveCopy:
    beside_media = core.config.media.media_store_path.parent / "site-copies"
    return GiveCopy(
        sites.log_id,
        sites.config.copies_path or beside_media,
        WriteCopy(sites.engine, LOCAL_TABLES),
        core.database,
        core.committer,
        core.platform,
    )


def _ends(sites: SiteCore) -> Sequence[DurabilityEnd]:
    return () if sites.durability is None else (DurabilityEnd(sites.durability),)


def _rooms_of_peers(
    core: Core, base: RoomBase, remote: RemoteRooms, push: Push, site_peers: SitePeers
) -> Mapping[str, PeerRooms]:
    rooms: dict[str, PeerRooms] = {}

    def meet(names: Iterable[str]) -> None:
        for name in names:
            # A batch that is under way while the way to its site changes waits for all that it has placed.
            pipeline = rooms[name].pipeline if name in rooms else _pipeline(core, name)
            rooms[name] = _peer_rooms(core, base, remote, push, site_peers[name].client, pipeline)

    meet(site_peers)
    # What is under way with a site that is none any more comes to its end.
    site_peers.follow(lambda change: meet((*change.added, *change.changed)))
    return rooms


def _pipeline(core: Core, peer: str) -> PeerPipeline:
    return PeerPipeline(PeerCommitter(core.committer, peer))


def _peer_rooms(
    core: Core,
    base: RoomBase,
    remote: RemoteRooms,
    push: Push,
    client: SiteClient,
    pipeline: PeerPipeline,
) -> PeerRooms:
    committer = PeerCommitter(core.committer, client.peer)
    ask = AskServers(client)
    keep = KeepOutliers(base.events, committer)
    verdicts = PeerVerdicts()
    accept = AcceptEvent(base.rooms, base.events, core.database, pipeline, push.outcomes, verdicts)
    fetch = FetchMissing(base.rooms, base.events, ask, remote.check, keep)
    take_room = TakeRoom(base.rooms, base.events, committer)
    turns = FairTurns(FETCHING_AT_ONCE, FETCHING_AT_ONCE)
    receive_pdu = ReceivePdu(accept, fetch, turns, core.platform.now_ms)
    return PeerRooms(ask, accept, receive_pdu, fetch, take_room, verdicts, pipeline)


def _link(
    core: Core, client: LinkClient, peer: str, read: ReadBatch, durability: SiteDurability | None
) -> SiteLink:
    def confirmed(name: str, position: int) -> None:
        if durability is not None:
            durability.confirmed(name, position)

    platform = core.platform
    return SiteLink(peer, client, read, core.log, core.committer, platform.sleep, platform.now_ms, confirmed)
