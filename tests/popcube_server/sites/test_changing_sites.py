"""A third site is taken in, out and in again, and the two others run on."""

from dataclasses import replace
from typing import Any

import orjson
from twisted.internet.defer import Deferred

from federation.room_dag.signing import verify_signature
from federation.sites.site_client import LINK, SiteClient
from federation.transport.errors import HttpRefusal
from popcube_server.building.sites import THINNING_INTERVAL_S
from popcube_server.services.sites.reload_sites import NotReloaded
from tests.popcube_server.sites.changing_case import ChangingSitesCase
from tests.popcube_server.sites.sites_case import ANNA, BERTA, DORA

THREE = (ANNA, BERTA, DORA)
TWO_SITES = (ANNA, BERTA)


class LinksTests(ChangingSitesCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.room_id = self.given_room(self.alice)
        self.given_message(self.alice, self.room_id, "first")
        self.at_dora = replace(self.alice, server_name=DORA)
        self.settle()

    def test_a_new_site_is_linked_at_once_and_has_everything(self) -> None:
        self.tell_all(*THREE)
        self.assertEqual(self.texts(self.at_dora, self.room_id), ["first"])
        self.given_message(self.at_dora, self.room_id, "second")
        self.settle()
        for host in THREE:
            self.assertEqual(
                self.texts(replace(self.alice, server_name=host), self.room_id), ["first", "second"]
            )
        self.assertEqual(self.peers(ANNA), ["berta", "dora"])
        self.assertIn('popcube_site_connected{peer="dora"} 1.0', self.metrics(ANNA))

    def test_a_site_that_nobody_was_told_of_gets_nothing(self) -> None:
        self.told[DORA] = THREE
        self.open(DORA)
        self.settle()
        self.assertEqual(self.texts(self.at_dora, self.room_id), [])

    def test_a_site_that_was_taken_out_is_not_listened_to_and_not_told_anything(self) -> None:
        self.tell_all(*THREE)
        self.tell_all(*TWO_SITES)
        self.given_message(self.at_dora, self.room_id, "alone")
        self.given_message(self.alice, self.room_id, "together")
        self.settle()
        self.assertEqual(self.texts(self.alice, self.room_id), ["first", "together"])
        self.assertEqual(self.texts(self.at_berta(self.alice), self.room_id), ["first", "together"])
        self.assertEqual(self.texts(self.at_dora, self.room_id), ["alone", "first"])
        self.assertEqual(self.peers(ANNA), ["berta"])
        self.assertNotIn("dora", self.metrics(ANNA))

    def ask_anna(self, host: str) -> "Deferred[dict[str, Any]]":
        """As a site asks how much of its log is there."""
        client = SiteClient("anna", "https://link-anna.example:8449", self.signer_of(host), self.network)
        asking = Deferred.fromCoroutine(client.get("anna", LINK + "cursor", {"log": "dora"}))
        self.network.flush()
        return asking

    def test_its_key_opens_nothing_any_more(self) -> None:
        self.tell_all(*THREE)
        self.assertIn("position", self.successResultOf(self.ask_anna(DORA)))
        self.tell(ANNA, *TWO_SITES)
        refusal = self.failureResultOf(self.ask_anna(DORA)).value
        assert isinstance(refusal, HttpRefusal)
        self.assertEqual(refusal.status, 401)

    def test_a_site_that_is_taken_in_again_goes_on_where_it_was(self) -> None:
        self.tell_all(*THREE)
        self.tell_all(*TWO_SITES)
        self.given_message(self.at_dora, self.room_id, "alone")
        self.given_message(self.alice, self.room_id, "together")
        bob = self.given_user("bob")
        self.settle()
        before = self.status(ANNA)["taken_in"]["dora"]
        self.tell_all(*THREE)
        for host in THREE:
            self.assertEqual(
                self.texts(replace(self.alice, server_name=host), self.room_id),
                ["alone", "first", "together"],
            )
            self.assertEqual(
                self.get("/_matrix/client/v3/account/whoami", replace(bob, server_name=host))[0], 200
            )
        self.assertGreater(self.status(ANNA)["taken_in"]["dora"], before)

    def test_a_site_with_another_certificate_is_linked_anew(self) -> None:
        self.tell_all(*THREE)
        peer = self.organisations[ANNA].site_peers
        assert peer is not None
        before = peer["dora"]
        self.assertEqual(list(self.tell(ANNA, *THREE).change.changed), [])
        self.assertIs(peer["dora"], before)
        self.more[ANNA] = "      certificate: another\n"
        self.assertEqual(list(self.reload(ANNA).change.changed), ["dora"])
        self.given_message(self.alice, self.room_id, "second")
        self.settle()
        self.assertEqual(self.texts(self.at_dora, self.room_id), ["first", "second"])


class FileTests(ChangingSitesCase):
    def test_a_wrong_file_changes_nothing_and_its_line_is_named(self) -> None:
        self.more[ANNA] = "    - name: Dora\n"
        error = self.failureResultOf(
            Deferred.fromCoroutine(self.organisations[ANNA].reload.reload()), NotReloaded
        ).value
        self.assertIn("line ", str(error))
        self.assertIn("sites.peers[1].name", str(error))
        self.assertEqual(self.peers(ANNA), ["berta"])

    def test_what_takes_effect_with_the_next_start_is_said(self) -> None:
        self.more[ANNA] = "server_notices: {}\nrequire_membership_for_aliases: false\n"
        self.assertEqual(list(self.reload(ANNA).needs_restart), ["require_membership_for_aliases"])
        self.more[ANNA] = ""
        self.assertEqual(list(self.reload(ANNA).needs_restart), [])

    def test_the_name_of_a_site_cannot_change_while_it_runs(self) -> None:
        self.told[ANNA] = THREE
        with_another_name = self.configuration
        self.patch(
            self, "configuration", lambda host: _renamed(with_another_name(host)) if host == ANNA else None
        )
        self.assertEqual(list(self.reload(ANNA).needs_restart), ["sites.name"])
        self.assertEqual(self.status(ANNA)["site"], "anna")
        self.assertEqual(self.peers(ANNA), ["berta", "dora"])


def _renamed(config: Any) -> Any:
    return replace(config, sites=replace(config.sites, name="zoe"))


class KeyTests(ChangingSitesCase):
    def assert_same(self, *hosts: str) -> Any:
        documents = [self.document(host) for host in hosts]
        self.assertEqual(len({orjson.dumps(document) for document in documents}), 1)
        for host in hosts:
            signer = self.signer_of(host)
            verify_signature(documents[0], "one.example", signer.key_id, signer.verify_key)
        return documents[0]

    def test_its_key_is_published_while_it_is_a_site_and_an_old_one_afterwards(self) -> None:
        self.tell_all(*THREE)
        document = self.assert_same(*THREE)
        self.assertEqual(set(document["verify_keys"]), {"ed25519:anna", "ed25519:berta", "ed25519:dora"})
        self.tell_all(*TWO_SITES)
        document = self.assert_same(*TWO_SITES)
        self.assertEqual(set(document["verify_keys"]), {"ed25519:anna", "ed25519:berta"})
        old = document["old_verify_keys"]["ed25519:dora"]
        self.assertEqual(old["key"], self.signer_of(DORA).verify_key_base64)
        # Whoever has the document of before goes by it until then.
        self.assertEqual(old["expired_ts"], document["valid_until_ts"])
        self.tell_all(*THREE)
        document = self.assert_same(*THREE)
        self.assertEqual(document["old_verify_keys"], {})

    def test_sites_that_are_told_days_apart_agree_on_when_it_ended(self) -> None:
        self.tell_all(*THREE)
        self.tell(ANNA, *TWO_SITES)
        self.settle()
        for _ in range(3):
            self.clock.advance(24 * 3600)
            self.settle()
        self.tell(BERTA, *TWO_SITES)
        self.settle()
        document = self.assert_same(*TWO_SITES)
        old = document["old_verify_keys"]["ed25519:dora"]
        self.assertLess(old["expired_ts"], document["valid_until_ts"])

    def test_a_site_that_was_taken_out_with_a_restart_has_an_old_key_too(self) -> None:
        self.tell_all(*THREE)
        for host in TWO_SITES:
            self.told[host] = TWO_SITES
            self.restart(host)
        self.settle()
        self.assertIn("ed25519:dora", self.assert_same(*TWO_SITES)["old_verify_keys"])

    def test_what_it_signed_before_is_good(self) -> None:
        self.tell_all(*THREE)
        alice = self.given_user("alice")
        room_id = self.given_room(alice)
        self.settle()
        self.tell(BERTA, *TWO_SITES)
        # Anna, who has not heard yet, has it of the site itself, and berta of anna.
        self.given_message(replace(alice, server_name=DORA), room_id, "late")
        self.settle()
        self.assertEqual(self.texts(alice, room_id), ["late"])
        self.given_message(alice, room_id, "later")
        self.settle()
        self.assertEqual(self.texts(self.at_berta(alice), room_id), ["late", "later"])


class DurabilityTests(ChangingSitesCase):
    durability = "site"

    def test_a_site_that_was_taken_out_is_not_waited_for(self) -> None:
        alice = self.given_user("alice")
        room_id = self.given_room(alice)
        self.settle()
        self.assertEqual(self.status(ANNA)["durability"], "safe")
        self.tell(ANNA, ANNA)
        path = f"/_matrix/client/v3/rooms/{room_id}/send/m.room.message/1"
        pending = self.begin("PUT", path, {"msgtype": "m.text", "body": "hello"}, alice)
        self.clock.advance(6)
        self.ok(self.finish(pending))
        self.assertEqual(self.status(ANNA)["durability"], "fallen back")
        self.given_message(alice, room_id, "at once")
        self.tell(ANNA, *TWO_SITES)
        self.settle()
        self.assertEqual(self.status(ANNA)["durability"], "safe")
        self.assertEqual(self.texts(self.at_berta(alice), room_id), ["at once", "hello"])


class HeldTests(ChangingSitesCase):
    def test_what_a_site_wrote_that_one_was_not_told_of_is_there_soon_after_it_is(self) -> None:
        alice = self.given_user("alice")
        room_id = self.given_room(alice)
        self.settle()
        self.told[DORA] = THREE
        self.tell(ANNA, *THREE)
        self.open(DORA)
        self.settle()
        self.given_message(replace(alice, server_name=DORA), room_id, "hello")
        # Anna tells berta of it, who knows no such key; for so long that it asks less and less often.
        for _ in range(100):
            self.clock.advance(60)
            self.network.flush()
        self.assertEqual(self.texts(alice, room_id), ["hello"])
        self.assertEqual(self.texts(self.at_berta(alice), room_id), [])
        self.tell(BERTA, *THREE)
        self.clock.advance(30)
        self.settle()
        self.assertEqual(self.texts(self.at_berta(alice), room_id), ["hello"])


class KeysTests(ChangingSitesCase):
    def test_keys_of_a_site_that_was_taken_out_are_not_counted_though_others_go_on_telling_of_them(
        self,
    ) -> None:
        alice = self.given_user("alice")
        self.tell_all(*THREE)
        self.tell(ANNA, *TWO_SITES)
        at_dora = replace(alice, server_name=DORA)
        key = {"key": "1", "signatures": {alice.user_id: {"ed25519:X": "s"}}}
        body = {"one_time_keys": {"signed_curve25519:1": key}}
        self.ok(self.post("/_matrix/client/v3/keys/upload", body, at_dora))
        self.settle()
        self.tell(BERTA, *TWO_SITES)
        self.clock.advance(THINNING_INTERVAL_S)
        self.settle()
        for host in TWO_SITES:
            user = replace(alice, server_name=host)
            counts = self.ok(self.post("/_matrix/client/v3/keys/upload", {}, user))["one_time_key_counts"]
            self.assertEqual(counts.get("signed_curve25519", 0), 0, host)
