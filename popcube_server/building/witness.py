"""Builds a witness: it votes on duties, and stores no rooms and no users."""

from federation.sites.site_peers import SitePeers
from popcube_server.building.core import Core
from popcube_server.building.duties import build_duties
from popcube_server.federation_metrics import FederationMetrics
from popcube_server.rest.front_door.site import Site
from popcube_server.rest.health import Health
from popcube_server.rest.metrics import MetricsPage
from popcube_server.rest.router import Router
from popcube_server.rest.sites.copies import SiteStatusServlet
from popcube_server.rest.sites.reload import SiteReload
from popcube_server.services.federation.origin_turns import OF_SITES, OriginTurns
from popcube_server.services.sites.authenticate_site import AuthenticateSite
from popcube_server.services.sites.no_users import NoUsers
from popcube_server.services.sites.reload_sites import ReloadSites
from popcube_server.services.sites.site_status import SiteStatus
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Witness:
    """`site` answers everybody, and tells only that the witness is there; `link_site` answers the other sites."""

    site: Site
    link_site: Site


def build_witness_sites(core: Core, peers: SitePeers, reload: ReloadSites) -> Witness:
    assert core.sites is not None
    config, platform = core.sites.config, core.platform
    metrics = FederationMetrics(core.metrics)
    turns = OriginTurns(core.config.rate_limits.rc_federation, platform, metrics)
    site_turns = OriginTurns(OF_SITES, platform, metrics)
    users = NoUsers()
    authenticator = AuthenticateSite(config.name, core.signer, peers)
    status = SiteStatus(
        config.name, core.sites.log_id, core.log, core.database, {}, core.sites.durability, platform.now_ms
    )
    duties = build_duties(core, core.sites, peers, {})
    front = Router((Health(), MetricsPage(core.metrics)))
    link = Router((*duties.servlets, SiteStatusServlet(config.name, status), SiteReload(config.name, reload)))
    return Witness(
        Site(front, users, authenticator, turns, core.metrics),
        Site(link, users, authenticator, site_turns, core.metrics),
    )
