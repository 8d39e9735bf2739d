"""The document that tells other servers this server's keys: one document, whichever site is asked."""

from typing import Any

import orjson

from federation.room_dag.signing import verify_signature
from tests.popcube_server.sites.sites_case import ANNA, BERTA, SitesTestCase

DAY_S = 24 * 3600


class KeyDocumentTests(SitesTestCase):
    def document(self, host: str) -> Any:
        return self.ok(self.call("GET", "/_matrix/key/v2/server", headers={"Host": host}))

    def assert_one_document(self) -> None:
        here, there = self.document(ANNA), self.document(BERTA)
        self.assertEqual(orjson.dumps(here), orjson.dumps(there))
        self.assertEqual(set(here["verify_keys"]), {"ed25519:anna", "ed25519:berta"})
        for host in (ANNA, BERTA):
            signer = self.signer_of(host)
            verify_signature(here, "one.example", signer.key_id, signer.verify_key)

    def test_both_sites_publish_the_same_signed_by_both(self) -> None:
        self.assert_one_document()

    def test_what_is_to_come_was_signed_ahead(self) -> None:
        self.kill(BERTA)
        self.clock.advance(DAY_S)
        document = self.document(ANNA)
        signer = self.signer_of(BERTA)
        verify_signature(document, "one.example", signer.key_id, signer.verify_key)

    def test_without_the_other_sites_signature_there_is_ones_own(self) -> None:
        self.kill(BERTA)
        self.clock.advance(10 * DAY_S)
        document = self.document(ANNA)
        self.assertEqual(set(document["signatures"]["one.example"]), {"ed25519:anna"})
        self.assertEqual(set(document["verify_keys"]), {"ed25519:anna", "ed25519:berta"})
        self.revive(BERTA)
        self.assert_one_document()

    def test_after_a_restart_it_is_the_same(self) -> None:
        before = self.document(ANNA)
        self.restart(ANNA)
        self.assertEqual(orjson.dumps(self.document(ANNA)), orjson.dumps(before))
