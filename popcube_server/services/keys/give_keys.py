"""Give one-time keys that this site holds to another site, on behalf of somebody who asked there."""

from collections import defaultdict
from collections.abc import Mapping

from popcube_server.services.errors import TooLarge
from popcube_server.services.keys.claim_keys import MAX_DEVICES
from storage.committer import Committer
from storage.one_time_keys import ClaimOneTimeKeys, GivenKeys


class GiveKeys:
    """POST /_popcube/sites/v1/keys/claim."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer

    async def give(
        self, users: Mapping[str, Mapping[str, str]]
    ) -> Mapping[str, Mapping[str, Mapping[str, bytes]]]:
        """Algorithms by user and device. What this site does not have is left out. Raises `TooLarge`."""
        claims = [
            (user_id, device_id, algorithm)
            for user_id, devices in users.items()
            for device_id, algorithm in devices.items()
        ]
        if len(claims) > MAX_DEVICES:
            raise TooLarge(f"Claim keys of at most {MAX_DEVICES} devices at a time.")
        answer: dict[str, dict[str, Mapping[str, bytes]]] = defaultdict(dict)
        if not claims:
            return answer
        (given,) = (await self._committer.commit(ClaimOneTimeKeys(tuple(claims)))).results
        assert isinstance(given, GivenKeys)
        for (user_id, device_id, _), key in zip(claims, given.keys, strict=True):
            if key is not None:
                answer[user_id][device_id] = {key.name: key.json}
        return answer
