"""Builds what says which duties this site has: all of them on one site, else as the sites agree."""

from collections.abc import Mapping, Sequence

from federation.sites.duties.decided_duty import DecidedDuty, Decisions
from federation.sites.duties.duty import DutyWork, SoleDuty
from federation.sites.duties.leased_duty import DutyTime, LeasedDuty
from federation.sites.duties.voter import Voter
from federation.sites.duties.votes import VoterClient
from federation.sites.site_client import SiteClient
from federation.transport.network import Network
from lazy_dataclasses.decorator import dataclass
from popcube_server.building.core import Core, SiteCore
from popcube_server.rest.sites.duties import SiteDutiesServlet, TakeOverServlet
from popcube_server.services.sites.take_over import TakeOverDuties
from popcube_server.services.sites.vote_on_duties import VoteOnDuties
from popcube_server.site_metrics import publish_duties

MIN_VOTERS = 3
"""Of two, none is more than half."""


@dataclass(frozen=True, slots=True)
class Duties:
    """`servlets` are for the listener that only sites reach. Stop `parts` before those who do the work."""

    parts: Sequence[SoleDuty | LeasedDuty | DecidedDuty]
    servlets: Sequence[object]


def build_duties(core: Core, network: Network, works: Mapping[str, DutyWork]) -> Duties:
    """`works` by the duty's name; a witness has none."""
    if core.sites is None:
        return Duties([SoleDuty(work) for work in works.values()], ())
    config, log_id = core.sites.config, core.sites.log_id
    voter = Voter(log_id, config.duties_term_ms, core.database, core.committer, core.platform.elapsed_s)
    decisions = Decisions(core.database, core.committer)
    can_vote = len(config.peers) + 1 >= MIN_VOTERS
    parts = [
        _leased(core, core.sites, network, voter, duty, work)
        if can_vote
        else _decided(core, core.sites, network, decisions, duty, work)
        for duty, work in works.items()
    ]
    publish_duties(core.metrics, parts)
    take_over = TakeOverDuties(config.name, tuple(works), can_vote, core.committer)
    servlets = (SiteDutiesServlet(VoteOnDuties(voter, decisions)), TakeOverServlet(take_over))
    return Duties(parts, servlets)


def _leased(
    core: Core, sites: SiteCore, network: Network, voter: Voter, duty: str, work: DutyWork
) -> LeasedDuty | DecidedDuty:
    peers = _peers(core, sites, network)
    return LeasedDuty(duty, sites.config.name, voter, peers, _time(core, sites), work)


def _decided(
    core: Core, sites: SiteCore, network: Network, decisions: Decisions, duty: str, work: DutyWork
) -> LeasedDuty | DecidedDuty:
    return DecidedDuty(
        duty,
        sites.config.name,
        sites.log_id,
        sites.config.preferred,
        decisions,
        _peers(core, sites, network),
        _time(core, sites),
        work,
    )


def _peers(core: Core, sites: SiteCore, network: Network) -> Mapping[str, VoterClient]:
    return {
        peer.name: VoterClient(
            sites.config.name, SiteClient(peer.name, peer.url, core.signer, network.sites[peer.name])
        )
        for peer in sites.config.peers
    }


def _time(core: Core, sites: SiteCore) -> DutyTime:
    platform = core.platform
    return DutyTime(platform.clock, platform.elapsed_s, platform.random, sites.config.duties_term_ms / 1000)
