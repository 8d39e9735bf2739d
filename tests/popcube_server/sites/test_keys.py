"""End-to-end encryption on two sites."""

from typing import Any
from urllib.parse import quote

from tests.popcube_server.rest.client.keys_case import KeysTestCase
from tests.popcube_server.server_case import TestUser
from tests.popcube_server.sites.sites_case import SitesTestCase

SIGNED = "signed_curve25519"


class KeysOnSitesTests(SitesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob")
        self.settle()
        self.there = self.at_berta(self.alice)

    def upload(self, user: TestUser, *numbers: int, fallback: int | None = None) -> dict[str, int]:
        body: dict[str, Any] = {
            "one_time_keys": {f"{SIGNED}:{number:04}": self.key(number) for number in numbers}
        }
        if fallback is not None:
            body["fallback_keys"] = {f"{SIGNED}:{fallback:04}": {**self.key(fallback), "fallback": True}}
        counts: dict[str, int] = self.ok(self.post("/_matrix/client/v3/keys/upload", body, user))[
            "one_time_key_counts"
        ]
        return counts

    def key(self, number: int) -> dict[str, Any]:
        return {"key": f"key {number}", "signatures": {self.alice.user_id: {"ed25519:X": "s"}}}

    def claim(self, user: TestUser) -> str | None:
        body = {"one_time_keys": {self.alice.user_id: {self.alice.device_id: SIGNED}}}
        # A site that is asked and does not answer is waited for, but not long.
        pending = self.begin("POST", "/_matrix/client/v3/keys/claim", body, user)
        for _ in range(20):
            self.clock.advance(0.5)
        claimed = self.ok(self.finish(pending))["one_time_keys"]
        names = claimed.get(self.alice.user_id, {}).get(self.alice.device_id, {})
        return next(iter(names), None)

    def counts(self, user: TestUser) -> dict[str, int]:
        counts: dict[str, int] = self.ok(self.get("/_matrix/client/v3/sync?timeout=0", user))[
            "device_one_time_keys_count"
        ]
        return counts

    def test_keys_are_claimed_at_either_site_and_each_once(self) -> None:
        self.upload(self.alice, 1, 2, 3)
        self.settle()
        self.assertEqual(self.counts(self.there)[SIGNED], 3)
        bob_there = self.at_berta(self.bob)
        claimed = [self.claim(bob_there), self.claim(self.bob), self.claim(bob_there), self.claim(self.bob)]
        self.assertEqual(claimed, [f"{SIGNED}:{number:04}" for number in (1, 2, 3)] + [None])
        self.settle()
        self.assertEqual([self.counts(user).get(SIGNED, 0) for user in (self.alice, self.there)], [0, 0])

    def test_in_a_cut_each_site_gives_its_own_keys_and_then_the_fallback_key(self) -> None:
        self.upload(self.alice, 1, 2, fallback=9)
        self.settle()
        self.cut()
        bob_there = self.at_berta(self.bob)
        self.assertEqual(self.claim(bob_there), f"{SIGNED}:0009")
        self.assertEqual(self.claim(self.bob), f"{SIGNED}:0001")
        # Keys uploaded there are given out there.
        self.upload(self.there, 3)
        self.assertEqual(self.claim(bob_there), f"{SIGNED}:0003")
        self.heal()
        self.assertEqual(self.counts(self.alice)[SIGNED], 1)
        self.assertEqual(self.claim(bob_there), f"{SIGNED}:0002")

    def test_the_same_upload_again_at_the_other_site_is_well_and_another_key_is_not(self) -> None:
        self.upload(self.alice, 1, 2)
        self.settle()
        self.assertEqual(self.upload(self.there, 1, 2), {SIGNED: 2})
        body = {"one_time_keys": {f"{SIGNED}:0001": self.key(99)}}
        status, answer = self.post("/_matrix/client/v3/keys/upload", body, self.there)
        self.assertEqual((status, answer["errcode"]), (400, "M_INVALID_PARAM"))

    def test_who_shares_a_room_hears_of_keys_that_were_uploaded_at_the_other_site(self) -> None:
        room_id = self.given_room(self.alice)
        self.given_joined(self.bob, room_id)
        self.settle()
        since = quote(self.ok(self.get("/_matrix/client/v3/sync?timeout=0", self.bob))["next_batch"])
        keys = KeysTestCase.device_keys(self, self.alice)  # type: ignore[arg-type]
        self.ok(self.post("/_matrix/client/v3/keys/upload", {"device_keys": keys}, self.there))
        self.settle()
        answer = self.ok(self.get(f"/_matrix/client/v3/sync?timeout=0&since={since}", self.bob))
        self.assertEqual(answer["device_lists"]["changed"], [self.alice.user_id])
        query: dict[str, Any] = {"device_keys": {self.alice.user_id: []}}
        found = self.ok(self.post("/_matrix/client/v3/keys/query", query, self.bob))["device_keys"]
        self.assertEqual(found[self.alice.user_id][self.alice.device_id]["keys"], keys["keys"])
