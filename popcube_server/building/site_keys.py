"""Builds the claiming of one-time keys between sites."""

from collections.abc import Sequence

from federation.sites.claim_at_peers import ClaimAtPeers
from federation.sites.site_peers import SitePeers
from popcube_server.building.core import Core
from popcube_server.rest.sites.keys import SiteKeys
from popcube_server.services.keys.give_keys import GiveKeys
from popcube_server.services.keys.keys_elsewhere import KeysElsewhere, NoOtherSites
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeysAtSites:
    """`servlets` are for the listener that only sites reach."""

    elsewhere: KeysElsewhere
    servlets: Sequence[object]


def build_keys_at_sites(core: Core, peers: SitePeers | None) -> KeysAtSites:
    if peers is None:
        return KeysAtSites(NoOtherSites(), ())
    elsewhere = ClaimAtPeers(peers.clients, core.platform.clock)  # type: ignore[arg-type]
    return KeysAtSites(elsewhere, (SiteKeys(GiveKeys(core.committer)),))
