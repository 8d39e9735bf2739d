"""Asks peer sites for one-time keys that they give out.

    POST /_popcube/sites/v1/keys/claim
    {"one_time_keys": {"@alice:example.org": {"PHONE": "signed_curve25519"}}}

The answer has the form of the specification's /keys/claim, without `failures`. Fallback keys are not given: whoever
asks has them too.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.interfaces import IReactorTime

from federation.room_dag.canonical_json import encode_lenient
from federation.sites.site_client import LINK
from federation.transport.errors import FederationError
from storage.one_time_keys import OneTimeKey

logger = logging.getLogger(__name__)

TIMEOUT_S: Final = 3.0
"""Somebody waits for the answer, and there is mostly a fallback key."""

Pool = tuple[str, str, str]
"""User ID, device ID and algorithm."""


class PeerRequests(Protocol):
    """`federation.sites.site_client.SiteClient`."""

    peer: str

    async def post(self, destination: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]: ...


class ClaimAtPeers:
    """Asks one peer after the other for what is still wanted."""

    def __init__(self, get_peers: Callable[[], Sequence[PeerRequests]], clock: IReactorTime) -> None:
        self._get_peers = get_peers
        self._clock = clock

    async def claim(self, pools: Sequence[Pool]) -> Mapping[Pool, OneTimeKey]:
        """A key of each pool of which a site gave one."""
        found: dict[Pool, OneTimeKey] = {}
        for peer in self._get_peers():
            wanted = [pool for pool in pools if pool not in found]
            if not wanted:
                break
            try:
                # A key that comes too late was given out, and to nobody: that is well, there are more.
                asking = Deferred.fromCoroutine(self._ask(peer, wanted))
                found.update(await asking.addTimeout(TIMEOUT_S, self._clock))
            except (FederationError, TooLate) as error:
                logger.warning("Site %s does not give one-time keys: %r", peer.peer, error)
        return found

    async def _ask(self, peer: PeerRequests, pools: Sequence[Pool]) -> dict[Pool, OneTimeKey]:
        users: dict[str, dict[str, str]] = defaultdict(dict)
        for user_id, device_id, algorithm in pools:
            users[user_id][device_id] = algorithm
        answer = await peer.post(peer.peer, LINK + "keys/claim", {"one_time_keys": users})
        given = answer.get("one_time_keys")
        return {} if not isinstance(given, dict) else dict(_keys(given, pools))


def _keys(given: Mapping[str, Any], pools: Sequence[Pool]) -> list[tuple[Pool, OneTimeKey]]:
    keys = []
    for user_id, device_id, algorithm in pools:
        of_user = given.get(user_id)
        of_device = of_user.get(device_id) if isinstance(of_user, dict) else None
        for name, json in (of_device if isinstance(of_device, dict) else {}).items():
            named, _, key_id = name.partition(":")
            if named == algorithm:
                keys.append(
                    ((user_id, device_id, algorithm), OneTimeKey(algorithm, key_id, encode_lenient(json)))
                )
    return keys
