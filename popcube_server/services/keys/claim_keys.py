"""Claim one-time keys of devices, each given out at most once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial

from federation.room_dag.identifiers import is_user_id
from popcube_server.services.bounded_cache import BoundedCache
from popcube_server.services.errors import TooLarge
from popcube_server.services.keys.keys_elsewhere import KeysElsewhere
from popcube_server.services.keys.remote_keys import ClaimedKeys, RemoteKeys
from storage.committer import Committer
from storage.database import Database
from storage.one_time_keys import (
    ClaimAnyKeys,
    Claimed,
    ClaimOneTimeKeys,
    GivenKeys,
    KeyPool,
    OneTimeKey,
    OneTimeKeysRepository,
    Pool,
)

MAX_DEVICES = 5_000
DEVICES_PER_READ = 400
POOLS_REMEMBERED = 10_000
"""Of which it is known that they had a one-time key the last time."""


class ClaimKeys:
    """POST /keys/claim."""

    def __init__(
        self,
        server_name: str,
        database: Database,
        committer: Committer,
        remote: RemoteKeys,
        elsewhere: KeysElsewhere,
    ) -> None:
        self._end_of_ours = f":{server_name}"
        self._database = database
        self._committer = committer
        self._remote = remote
        self._elsewhere = elsewhere
        self._one_time_keys = OneTimeKeysRepository()
        self._giving: BoundedCache[Pool, bool] = BoundedCache(POOLS_REMEMBERED)

    async def claim(self, users: Mapping[str, Mapping[str, str]], timeout_ms: int) -> ClaimedKeys:
        """Algorithms by user ID and device ID.

        What is no user ID, and unknown users, devices and algorithms are left out of the answer.
        """
        if sum(len(devices) for devices in users.values()) > MAX_DEVICES:
            raise TooLarge(f"Claim keys of at most {MAX_DEVICES} devices at a time.")
        local: list[Pool] = []
        remote = {}
        for user_id, devices in users.items():
            if user_id.endswith(self._end_of_ours):
                # If it is no user ID, nobody has keys under it.
                local += [(user_id, device_id, algorithm) for device_id, algorithm in devices.items()]
            elif is_user_id(user_id):
                remote[user_id] = devices
        claimed = await self._claim_local(local)
        if not remote:
            return ClaimedKeys(claimed)
        answer = await self._remote.claim(remote, timeout_ms)
        return ClaimedKeys({**claimed, **answer.users}, answer.failures)

    async def _claim_local(self, wanted: Sequence[Pool]) -> dict[str, dict[str, dict[str, bytes]]]:
        keys = await self._claim_more([pool for pool in wanted if self._giving.get(pool)])
        if len(keys) < len(wanted):
            keys.update(await self._look_and_claim([pool for pool in wanted if pool not in keys]))
        answer: dict[str, dict[str, dict[str, bytes]]] = defaultdict(dict)
        for (user_id, device_id, _), key in keys.items():
            answer[user_id][device_id] = {key.name: key.json}
        return answer

    async def _claim_more(self, pools: Sequence[Pool]) -> dict[Pool, OneTimeKey]:
        """One-time keys of pools that had one the last time, without a look at what there is."""
        if not pools:
            return {}
        keys: dict[Pool, OneTimeKey] = {}
        for pool, key in zip(pools, await self._commit(ClaimOneTimeKeys(tuple(pools))), strict=True):
            if key is not None:
                keys[pool] = key
            else:
                self._giving.drop(pool)
        return keys

    async def _look_and_claim(self, wanted: Sequence[Pool]) -> dict[Pool, OneTimeKey]:
        keys: dict[Pool, OneTimeKey] = {}
        claims: list[Pool] = []
        pools = await self._pools(wanted)
        # What another site gives out is asked for there; if it does not answer, there is the fallback key.
        ask = [pool for pool in wanted if pool in pools and pools[pool].is_elsewhere_only]
        if ask:
            keys.update(await self._elsewhere.claim(ask))
        for pool in wanted:
            found = pools.get(pool)
            if found is None or pool in keys:
                continue
            # A fallback key that is used already may be given out without a write: a client that claims again and
            # again from a device that is away costs a read each time, and nothing else.
            if found.fallback_key is not None and found.fallback_used and not found.has_one_time_key:
                keys[pool] = found.fallback_key
            else:
                claims.append(pool)
        if claims:
            for pool, key in zip(claims, await self._commit(ClaimAnyKeys(tuple(claims))), strict=True):
                if key is not None:
                    keys[pool] = key
                    if not key.is_fallback:
                        self._giving.put(pool, True)
        return keys

    async def _commit(self, claim: ClaimOneTimeKeys) -> Sequence[Claimed]:
        (given,) = (await self._committer.commit(claim)).results
        assert isinstance(given, GivenKeys)
        return given.keys

    async def _pools(self, wanted: Sequence[Pool]) -> Mapping[Pool, KeyPool]:
        pools: dict[Pool, KeyPool] = {}
        for start in range(0, len(wanted), DEVICES_PER_READ):
            chunk = wanted[start : start + DEVICES_PER_READ]
            pools.update(await self._database.read(partial(self._one_time_keys.find_pools, wanted=chunk)))
        return pools
