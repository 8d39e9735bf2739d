"""The configuration of sites is read again, for this site's own operator."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.services.errors import InvalidParam, NotAllowed
from popcube_server.services.sites.reload_sites import NotReloaded, ReloadSites


class SiteReload:
    def __init__(self, own_name: str, reload: ReloadSites) -> None:
        self._own_name = own_name
        self._reload = reload

    @endpoint("POST", "/_popcube/sites/v1/reload", Access.SERVER)
    async def reload(self, call: Call) -> Mapping[str, Any]:
        if call.origin != self._own_name:
            raise NotAllowed("This is for the site itself.")
        try:
            reloaded = await self._reload.reload()
        except NotReloaded as error:
            raise InvalidParam(str(error)) from None
        return {
            "added": reloaded.change.added,
            "removed": reloaded.change.removed,
            "changed": reloaded.change.changed,
            "prefers_another": reloaded.change.prefers_another,
            "needs_restart": reloaded.needs_restart,
        }
