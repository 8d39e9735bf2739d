"""Files of media while sites come and go."""

from tests.popcube_server.server_case import TWO
from tests.popcube_server.sites.changing_case import ChangingSitesCase
from tests.popcube_server.sites.sites_case import ANNA, BERTA, DORA
from tests.popcube_server.sites.test_media import LARGE, SiteMediaCase

TWO_SITES = (ANNA, BERTA)


class ChangingMediaTests(ChangingSitesCase, SiteMediaCase):
    hosts = (ANNA, BERTA, TWO)

    def wait_for_hours(self) -> None:
        for _ in range(200):
            self.clock.advance(60)
            self.network.flush()

    def test_a_new_site_fetches_all_files(self) -> None:
        self.given_media(self.alice, LARGE)
        self.given_media(self.there, b"from there")
        self.settle()
        self.tell_all(*TWO_SITES, DORA)
        self.settle()
        self.assertEqual(self.stored_files(DORA), 2)

    def test_what_only_a_site_has_that_was_taken_out_comes_soon_after_it_is_back(self) -> None:
        self.tell_all(*TWO_SITES, DORA)
        self.hold_files()
        self.given_media(self.alice, LARGE)
        self.settle()
        self.tell(BERTA, BERTA, DORA)
        self.release_files()
        # Dora answers that it does not have it, again and again, and berta asks less and less often.
        self.tell(DORA, BERTA, DORA)
        self.wait_for_hours()
        self.assertEqual(self.stored_files(BERTA), 0)
        self.tell(BERTA, *TWO_SITES, DORA)
        self.clock.advance(60)
        self.settle()
        self.assertEqual(self.stored_files(BERTA), 1)

    def test_alone_a_site_waits_for_another_one(self) -> None:
        self.hold_files()
        media = self.given_media(self.alice, LARGE)
        self.settle()
        self.tell(BERTA, BERTA)
        self.release_files()
        self.wait_for_hours()
        self.assert_no_media(media, self.there, 504, "M_NOT_YET_UPLOADED")
        self.tell(BERTA, *TWO_SITES)
        self.settle()
        self.assertEqual(self.look(media, self.there), LARGE)
