"""Keys of devices for end-to-end encryption: up, asked for, claimed."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from nacl.signing import SigningKey
from unpaddedbase64 import encode_base64

from benchmarks.client import V3, Account, Client
from benchmarks.load import Result, in_lanes, side_by_side
from benchmarks.site import Site
from benchmarks.sizes import Sizes

ALGORITHMS = ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"]
UPLOADERS = 2
ASKERS = 2
CLAIMED = "signed_curve25519"


def device_keys(account: Account, one_time_keys: int) -> dict[str, Any]:
    """The body of a first upload: a device's keys and some one-time keys, truly signed."""
    signing_key = SigningKey.generate()
    ed25519 = encode_base64(signing_key.verify_key.encode())
    device_id = account.device_id
    device = {
        "user_id": account.user_id,
        "device_id": device_id,
        "algorithms": ALGORITHMS,
        "keys": {f"curve25519:{device_id}": _curve25519_key(), f"ed25519:{device_id}": ed25519},
    }
    return {
        "device_keys": _signed(device, account, signing_key),
        "one_time_keys": {
            f"{CLAIMED}:{number:06}": _signed({"key": _curve25519_key()}, account, signing_key)
            for number in range(one_time_keys)
        },
    }


def _curve25519_key() -> str:
    # Only clients can tell that it is another key's: it has the right form.
    return encode_base64(SigningKey.generate().verify_key.encode())


def _signed(value: dict[str, Any], account: Account, signing_key: SigningKey) -> dict[str, Any]:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    signature = encode_base64(signing_key.sign(canonical).signature)
    return {**value, "signatures": {account.user_id: {f"ed25519:{account.device_id}": signature}}}


class Keys:
    """Each upload is the first of a device; each query names many users; each claim takes a key of several."""

    def __init__(self, site: Site, sizes: Sizes) -> None:
        self._site = site
        self._sizes = sizes
        self._owners = site.people("owner", sizes.queried_users)
        in_lanes([partial(_upload, site.client(owner), device_keys(owner, 0)) for owner in self._owners])
        self._askers = site.people("asker", ASKERS)

    def turn(self) -> Iterator[tuple[str, Result]]:
        sizes = self._sizes
        uploaders = self._site.new_people("uploader", sizes.key_uploads * UPLOADERS)
        workers = [self._uploading(uploaders[start::UPLOADERS]) for start in range(UPLOADERS)]
        work = partial(side_by_side, workers, sizes.key_uploads)
        yield f"keys upload, with {sizes.one_time_keys} one-time keys", self._site.measure(work)

        body: dict[str, Any] = {"device_keys": {owner.user_id: [] for owner in self._owners}}
        workers = [partial(self._query, self._site.client(asker), body) for asker in self._askers]
        work = partial(side_by_side, workers, sizes.key_queries)
        yield f"keys query of {sizes.queried_users} users", self._site.measure(work)

        claimed = self._site.new_people("claimed", sizes.claimed_users)
        in_lanes(
            [partial(_upload, self._site.client(one), device_keys(one, sizes.key_claims)) for one in claimed]
        )
        asking = partial(self._claim, self._site.client(self._askers[0]), claimed)
        work = partial(side_by_side, [asking], sizes.key_claims)
        yield f"keys claim of {sizes.claimed_users} users", self._site.measure(work)

    def _uploading(self, accounts: Sequence[Account]) -> Callable[[], None]:
        uploads = iter(
            [
                partial(_upload, self._site.client(account), device_keys(account, self._sizes.one_time_keys))
                for account in accounts
            ]
        )
        return lambda: next(uploads)()

    def _query(self, client: Client, body: Any) -> None:
        answer = client.call("POST", f"{V3}/keys/query", body)
        if len(answer["device_keys"]) != self._sizes.queried_users:
            raise RuntimeError(f"The keys of {len(answer['device_keys'])} users came back")

    def _claim(self, client: Client, accounts: Sequence[Account]) -> None:
        body = {"one_time_keys": {one.user_id: {one.device_id: CLAIMED} for one in accounts}}
        answer = client.call("POST", f"{V3}/keys/claim", body)
        if len(answer["one_time_keys"]) != len(accounts):
            raise RuntimeError(f"Keys of {len(answer['one_time_keys'])} users came back")


def _upload(client: Client, body: Any) -> None:
    client.call("POST", f"{V3}/keys/upload", body)
