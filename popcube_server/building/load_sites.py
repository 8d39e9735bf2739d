"""Loads the code for several sites, if there are several.

It is 60 modules, which would cost a server on one site a megabyte of memory and a twentieth of its start, and be of no
use to it.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from federation.sites.duties.duty import DutyWork
from federation.sites.site_peers import SitePeers
from popcube_server.building.core import Core, SiteCore
from popcube_server.building.federation_rooms import RemoteRooms
from popcube_server.building.push import Push
from popcube_server.building.rooms import RoomBase
from popcube_server.metrics import Metrics
from popcube_server.rest.front_door.site import ServerAuthenticator, Site
from popcube_server.services.platform import Platform
from popcube_server.services.sites.reload_sites import ReloadSites
from storage.database import Database
from storage.engines.engine import Engine
from storage.log import Log
from synapse_like_config.sites import SitesConfig


class SitePart(Protocol):
    """What an organization starts and stops."""

    def start(self) -> None: ...

    async def stop(self) -> None: ...


class Sites(Protocol):
    """The links of a site. `servlets` and `authenticator` are for the listener that only sites reach."""

    @property
    def name(self) -> str: ...

    @property
    def parts(self) -> Sequence[SitePart]: ...

    @property
    def authenticator(self) -> ServerAuthenticator: ...

    @property
    def servlets(self) -> Sequence[object]: ...


class SitesBuilding(Protocol):
    """`popcube_server/building/sites.py`."""

    def build_site_core(
        self,
        config: SitesConfig,
        engine: Engine,
        database: Database,
        log: Log,
        metrics: Metrics,
        platform: Platform,
    ) -> SiteCore: ...

    def build_sites(
        self,
        core: Core,
        sites: SiteCore,
        base: RoomBase,
        site_peers: SitePeers,
        remote: RemoteRooms,
        push: Push,
    ) -> Sites: ...


class Duties(Protocol):
    """What says which duties a site has. Stop `parts` before those who do the work."""

    @property
    def parts(self) -> Sequence[SitePart]: ...

    @property
    def servlets(self) -> Sequence[object]: ...


class DutiesBuilding(Protocol):
    """`popcube_server/building/duties.py`."""

    def build_duties(
        self, core: Core, sites: SiteCore, site_peers: SitePeers, works: Mapping[str, DutyWork]
    ) -> Duties: ...


class Witness(Protocol):
    """`site` answers everybody, and tells only that the witness is there; `link_site` answers the other sites."""

    @property
    def site(self) -> Site: ...

    @property
    def link_site(self) -> Site: ...


class WitnessBuilding(Protocol):
    """`popcube_server/building/witness.py`."""

    def build_witness_sites(self, core: Core, peers: SitePeers, reload: ReloadSites) -> Witness: ...


def load_sites() -> SitesBuilding:
    return cast(SitesBuilding, importlib.import_module("popcube_server.building.sites"))


def load_duties() -> DutiesBuilding:
    return cast(DutiesBuilding, importlib.import_module("popcube_server.building.duties"))


def load_witness() -> WitnessBuilding:
    return cast(WitnessBuilding, importlib.import_module("popcube_server.building.witness"))
