"""Specification module versions: which versions of the specification hold here."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint

VERSIONS = (
    *("r0.0.1", "r0.1.0", "r0.2.0", "r0.3.0", "r0.4.0", "r0.5.0", "r0.6.0", "r0.6.1"),
    *(f"v1.{minor}" for minor in range(1, 17)),
)
# Long part of the specification; clients from before look for these.
UNSTABLE_FEATURES = {
    "org.matrix.e2e_cross_signing": True,
    "org.matrix.msc2285.stable": True,
    "org.matrix.msc3440.stable": True,
}


class Versions:
    @endpoint("GET", "/_matrix/client/versions", Access.OPTIONAL)
    async def get(self, call: Call) -> Mapping[str, Any]:
        return {"versions": VERSIONS, "unstable_features": UNSTABLE_FEATURES}
