"""Builds what says which duties this site has, as the sites agree."""

from collections.abc import Callable, Mapping, Sequence

from federation.sites.duties.decided_duty import DecidedDuty, Decisions
from federation.sites.duties.duty import DutyWork
from federation.sites.duties.known_voters import KnownVoters
from federation.sites.duties.leased_duty import DutyTime, LeasedDuty
from federation.sites.duties.shared_duty import SharedDuty
from federation.sites.duties.voter import Voter
from federation.sites.duties.votes import VoterClient
from federation.sites.site_peers import SitePeers
from popcube_server.building.core import Core, SiteCore
from popcube_server.rest.sites.duties import SiteDutiesServlet, TakeOverServlet
from popcube_server.services.sites.take_over import TakeOverDuties
from popcube_server.services.sites.vote_on_duties import VoteOnDuties
from popcube_server.site_metrics import publish_duties
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Duties:
    """`servlets` are for the listener that only sites reach. Stop `parts` before those who do the work."""

    parts: Sequence[SharedDuty]
    servlets: Sequence[object]


def build_duties(core: Core, sites: SiteCore, site_peers: SitePeers, works: Mapping[str, DutyWork]) -> Duties:
    """`works` by the duty's name; a witness has none."""
    config, log_id = sites.config, sites.log_id
    known = KnownVoters(lambda: site_peers.config.voters, core.database, core.committer)
    voter = Voter(
        config.name,
        log_id,
        config.duties_term_ms,
        known,
        core.database,
        core.committer,
        core.platform.elapsed_s,
    )
    decisions = Decisions(core.database, core.committer)
    build = _BuildDuty(core, sites, site_peers, voter, decisions)
    parts = [build.shared(duty, work) for duty, work in works.items()]
    publish_duties(core.metrics, parts)
    take_over = TakeOverDuties(config.name, tuple(works), voter, core.committer)
    servlets = (SiteDutiesServlet(VoteOnDuties(voter, decisions)), TakeOverServlet(take_over))
    return Duties(parts, servlets)


@dataclass(frozen=True, slots=True)
class _BuildDuty:
    core: Core
    sites: SiteCore
    peers: SitePeers
    voter: Voter
    decisions: Decisions

    def shared(self, duty: str, work: DutyWork) -> SharedDuty:
        shared = SharedDuty(
            duty,
            self.sites.config.name,
            self.voter,
            lambda settled: self._leased(duty, work, settled),
            lambda since: self._decided(duty, work, since),
            self._time(),
        )
        self.peers.follow(lambda change: shared.peers_changed() if change else None)
        return shared

    def _leased(self, duty: str, work: DutyWork, settled: Callable[[], None]) -> LeasedDuty:
        name = self.sites.config.name
        return LeasedDuty(duty, name, self.voter, self._voters(), self._time(), work, settled)

    def _decided(self, duty: str, work: DutyWork, since: int) -> DecidedDuty:
        config = self.peers.config
        return DecidedDuty(
            duty,
            config.name,
            self.sites.log_id,
            config.preferred,
            config.data_sites,
            since,
            self.decisions,
            self._voters(),
            self._time(),
            work,
        )

    def _voters(self) -> Mapping[str, VoterClient]:
        name = self.sites.config.name
        return {peer.name: VoterClient(name, peer.client) for peer in self.peers.values()}

    def _time(self) -> DutyTime:
        platform = self.core.platform
        term_s = self.sites.config.duties_term_ms / 1000
        return DutyTime(platform.clock, platform.elapsed_s, platform.random, term_s)
