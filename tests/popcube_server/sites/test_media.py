"""Media that are uploaded at one site and looked at, at the other."""

from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from federation.sites.site_client import SiteClient
from federation.transport.errors import HttpRefusal, TransportError
from federation.transport.https import HttpRequest
from federation.transport.route import Route
from popcube_server.services.media.copy_from_sites import FIRST_RETRY_MS
from popcube_server.services.media.other_sites import PATIENCE_S, RECORD_DELAY_S
from tests.popcube_server.rest.client.media_case import NEW, OLD, MediaTestCase
from tests.popcube_server.server_case import TWO, TestUser
from tests.popcube_server.sites.sites_case import ANNA, BERTA, SitesTestCase
from tests.support.loop_network import PIECE_BYTES, FarAnswer
from tests.support.pictures import given_picture

LINK_ANNA = "link-anna.example"
LARGE = bytes(range(256)) * 400


class SiteMediaCase(SitesTestCase, MediaTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.settle()
        self.there = self.at_berta(self.alice)

    def look(self, media: str, user: TestUser) -> bytes:
        return self.fetch(f"{NEW}/download/{media}", user).data

    def assert_no_media(self, media: str, user: TestUser, status: int, errcode: str) -> None:
        pending = self.begin("GET", f"{NEW}/download/{media}", None, user)
        self.clock.advance(PATIENCE_S)
        self.assert_refusal("GET", f"{NEW}/download/{media}", self.finish(pending), status, errcode)

    def hold_files(self) -> None:
        """Records travel, files of `anna` do not."""

        def broken(route: Route, request: HttpRequest) -> FarAnswer:
            raise TransportError("the line is too slow")

        self.network.far_streams[LINK_ANNA] = broken

    def release_files(self) -> None:
        del self.network.far_streams[LINK_ANNA]

    def metric(self, host: str, name: str) -> float:
        lines = self.organisations[host].core.metrics.render().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    def asked_for_files(self) -> list[str]:
        return [
            uri
            for host, method, uri in self.network.requests
            if "/sites/v1/media/" in uri and method == "GET"
        ]


class CopyingTests(SiteMediaCase):
    def test_an_upload_is_copied_to_the_other_site(self) -> None:
        media = self.given_media(self.alice, LARGE)
        self.settle()
        self.assertEqual(self.stored_files(BERTA), 1)
        self.cut()
        self.assertEqual(self.look(media, self.there), LARGE)
        self.assertEqual(self.metric(BERTA, "popcube_site_media_missing"), 0)
        self.assertEqual(self.metric(BERTA, "popcube_site_media_copied_bytes_total"), len(LARGE))

    def test_it_is_copied_after_a_cut(self) -> None:
        self.cut()
        media = [self.given_media(self.alice, b"%d" % number) for number in range(10)]
        self.given_media(self.there, b"from there")
        self.heal()
        self.settle()
        self.assertEqual((self.stored_files(ANNA), self.stored_files(BERTA)), (11, 11))
        self.cut()
        self.assertEqual(self.look(media[3], self.there), b"3")

    def test_files_come_once_the_line_is_good_again(self) -> None:
        self.hold_files()
        self.given_media(self.alice)
        self.settle()
        self.assertEqual(self.metric(BERTA, "popcube_site_media_missing"), 1)
        self.assertEqual(self.stored_files(BERTA), 0)
        self.release_files()
        for _ in range(4):
            self.settle()
        self.assertEqual(self.metric(BERTA, "popcube_site_media_missing"), 0)
        self.assertEqual(self.stored_files(BERTA), 1)

    def test_what_is_missing_is_known_after_a_restart(self) -> None:
        self.hold_files()
        self.given_media(self.alice)
        self.settle()
        self.release_files()
        self.restart(BERTA)
        self.settle()
        self.assertEqual(self.stored_files(BERTA), 1)

    def test_while_the_line_is_bad_it_is_not_tried_without_end(self) -> None:
        self.hold_files()
        self.given_media(self.alice)
        self.settle()
        asked: list[str] = []
        broken = self.network.far_streams[LINK_ANNA]

        def counted(route: Route, request: HttpRequest) -> FarAnswer:
            asked.append(request.uri)
            return broken(route, request)

        self.network.far_streams[LINK_ANNA] = counted
        for _ in range(600):
            self.clock.advance(1)
        self.assertTrue(10 <= len(asked) <= 30, len(asked))

    def test_a_transfer_that_breaks_off_goes_on_where_it_was(self) -> None:
        self.network.far_streams[LINK_ANNA] = _Breaking(LARGE)
        media = self.given_media(self.alice, LARGE)
        self.settle()
        offsets = [uri.partition("offset=")[2] for uri in self.asked_for_files()]
        self.assertEqual(offsets, [str(at * PIECE_BYTES) for at in range(11)])
        self.cut()
        self.assertEqual(self.look(media, self.there), LARGE)

    def test_other_bytes_than_were_uploaded_are_not_taken(self) -> None:
        self.network.far_streams[LINK_ANNA] = lambda route, request: FarAnswer(200, {}, iter([b"evil"]))
        with self.assertLogs("popcube_server.services.media.fetch_from_sites", "ERROR"):
            media = self.given_media(self.alice, b"good")
        self.settle()
        self.assertEqual(self.stored_files(BERTA), 0)
        self.release_files()
        self.clock.advance(FIRST_RETRY_MS / 1000 * 64)
        self.settle()
        self.assertEqual(self.look(media, self.there), b"good")

    def test_of_two_contents_of_one_id_one_stays_and_the_other_file_goes(self) -> None:
        media = self.given_reserved(self.alice)
        self.settle()
        self.cut()
        self.clock.advance(1)
        self.ok(self.call("PUT", f"{OLD}/upload/{media}", b"first", self.there))
        self.clock.advance(1)
        self.ok(self.call("PUT", f"{OLD}/upload/{media}", b"second", self.alice))
        self.heal()
        for _ in range(4):
            self.settle()
        self.assertEqual((self.stored_files(ANNA), self.stored_files(BERTA)), (1, 1))
        self.cut()
        self.assertEqual((self.look(media, self.alice), self.look(media, self.there)), (b"first", b"first"))

    def test_files_are_given_to_sites_alone(self) -> None:
        self.given_media(self.alice)
        (path,) = (path for path in (self.directory / ANNA / "media" / "files").rglob("*") if path.is_file())
        uri = f"/_popcube/sites/v1/media/{path.parent.name}{path.name}"
        for host in (ANNA, TWO):
            self.assert_refused(self.call("GET", uri, server_name=host), 404, "M_UNRECOGNIZED")
        self.assert_refused(self.call("GET", uri, server_name=LINK_ANNA), 401, "M_UNAUTHORIZED")
        self.assertEqual(self.ask_as_site(uri), b"data")
        self.assertEqual(self.ask_as_site(f"{uri}?offset=2"), b"ta")
        self.assertEqual(self.ask_as_site(f"{uri}?offset=99"), b"")

    def test_sites_that_ask_nonsense_are_refused(self) -> None:
        begin = "/_popcube/sites/v1/media/"
        for uri, status in (
            (f"{begin}{'0' * 32}", 404),
            (f"{begin}..%2F..%2Fsigning.key", 404),
            (f"{begin}remote%2F{'0' * 32}", 404),
            (f"{begin}{'0' * 32}?offset=-1", 400),
        ):
            with self.assertRaises(HttpRefusal) as refused:
                self.ask_as_site(uri)
            self.assertEqual(refused.exception.status, status, uri)

    def ask_as_site(self, uri: str) -> bytes:
        """What `anna` gives to `berta`."""
        client = SiteClient("anna", "https://link-anna.example:8449", self.signer_of(BERTA), self.network)
        asking = Deferred.fromCoroutine(client.get_bytes(uri))
        self.network.flush()
        answers: list[bytes] = []
        failures: list[Failure] = []
        asking.addCallbacks(answers.append, failures.append)
        for failure in failures:
            failure.raiseException()
        return answers[0]


class RetentionTests(SiteMediaCase):
    extra_configuration = "media_retention: {local_media_lifetime: 10d}\n"

    def days(self, count: int) -> None:
        for _ in range(count * 24):
            self.clock.advance(3600)

    def test_unused_media_go_from_both_sites_and_used_ones_stay(self) -> None:
        used, unused = self.given_media(self.alice, b"used"), self.given_media(self.alice, b"unused")
        self.settle()
        for _ in range(5):
            self.days(4)
            # Only one of the sites sees that somebody looks.
            self.look(used, self.there)
        self.settle()
        self.assertEqual((self.stored_files(ANNA), self.stored_files(BERTA)), (1, 1))
        self.cut()
        self.assertEqual(self.look(used, self.alice), b"used")
        self.assert_no_media(unused, self.there, 404, "M_NOT_FOUND")


class OnDemandTests(SiteMediaCase):
    def setUp(self) -> None:
        super().setUp()
        self.hold_files()

    def test_a_file_that_is_not_here_yet_is_fetched_for_who_wants_it(self) -> None:
        media = self.given_media(self.alice, LARGE)
        self.settle()
        self.release_files()
        self.assertEqual(self.look(media, self.there), LARGE)
        asked = len(self.asked_for_files())
        self.assertEqual(self.look(media, self.there), LARGE)
        self.assertEqual(len(self.asked_for_files()), asked)

    def test_a_thumbnail_is_made_of_what_is_fetched(self) -> None:
        media = self.given_media(self.alice, given_picture(80, 60), "image/png")
        self.settle()
        self.release_files()
        path = f"{NEW}/thumbnail/{media}?width=32&height=32&method=crop"
        self.assertEqual(self.fetch(path, self.there).headers["content-type"], "image/jpeg")

    def test_while_the_site_that_has_it_is_away_the_client_is_to_try_again(self) -> None:
        media = self.given_media(self.alice, b"data")
        self.settle()
        self.cut()
        self.assert_no_media(media, self.there, 504, "M_NOT_YET_UPLOADED")
        self.release_files()
        self.heal()
        self.assertEqual(self.look(media, self.there), b"data")

    def test_a_file_that_no_site_has_is_not_found(self) -> None:
        media = self.given_media(self.alice, b"data")
        self.settle()
        for path in (self.directory / ANNA / "media" / "files").rglob("*"):
            if path.is_file():
                path.unlink()
        self.release_files()
        with self.assertLogs("popcube_server.services.media.find_media", "ERROR"):
            self.assert_no_media(media, self.there, 404, "M_NOT_FOUND")

    def test_a_file_that_was_lost_here_is_fetched_back(self) -> None:
        self.release_files()
        media = self.given_media(self.there, b"data")
        self.settle()
        for path in (self.directory / BERTA / "media" / "files").rglob("*"):
            if path.is_file():
                path.unlink()
        self.assertEqual(self.look(media, self.there), b"data")

    def test_media_that_another_site_has_just_given_out_are_waited_for(self) -> None:
        self.release_files()
        self.cut()
        media = self.given_media(self.alice, b"data")
        pending = self.begin("GET", f"{NEW}/download/{media}", None, self.there)
        self.assertNoResult(pending)
        self.network.down.clear()
        self.clock.advance(RECORD_DELAY_S / 2)
        self.assertEqual(self.finish(pending)[0], 200)

    def test_media_ids_that_nobody_gave_out_are_not_found(self) -> None:
        pending = self.begin("GET", f"{NEW}/download/one.example/nothing", None, self.there)
        self.assertNoResult(pending)
        self.clock.advance(RECORD_DELAY_S)
        self.assert_refused(self.finish(pending), 404, "M_NOT_FOUND")

    def test_an_id_of_one_site_is_filled_at_the_other(self) -> None:
        self.release_files()
        media = self.given_reserved(self.alice)
        self.settle()
        self.ok(self.call("PUT", f"{OLD}/upload/{media}", b"late", self.there))
        self.settle()
        self.assertEqual(self.look(media, self.alice), b"late")

    def test_what_was_copied_outlives_the_site_where_it_was_uploaded(self) -> None:
        self.release_files()
        media = self.given_media(self.alice, b"kept")
        self.settle()
        self.hold_files()
        lost = self.given_media(self.alice, b"lost")
        self.settle()
        self.kill(ANNA)
        self.assertEqual(self.look(media, self.there), b"kept")
        self.assert_no_media(lost, self.there, 504, "M_NOT_YET_UPLOADED")


class DurableTests(SiteMediaCase):
    durability = "site"

    def upload(self) -> Any:
        return self.begin("POST", f"{OLD}/upload", b"data", self.alice)

    def test_an_upload_is_answered_once_the_other_site_has_the_file(self) -> None:
        self.hold_files()
        pending = self.upload()
        self.network.flush()
        self.assertNoResult(pending)
        self.assertEqual(self.stored_files(BERTA), 0)
        self.release_files()
        self.clock.advance(1)
        self.network.flush()
        self.ok(self.finish(pending))
        self.assertEqual(self.stored_files(BERTA), 1)
        self.assertEqual(self.metric(ANNA, "popcube_site_media_unconfirmed_total"), 0)

    def test_a_site_that_keeps_no_files_is_not_waited_for_again(self) -> None:
        self.hold_files()
        pending = self.upload()
        with self.assertLogs("popcube_server.services.media.upload_safety", "ERROR"):
            for _ in range(6):
                self.clock.advance(1)
        self.ok(self.finish(pending))
        self.assertEqual(self.metric(ANNA, "popcube_site_media_unconfirmed_total"), 1)
        self.ok(self.finish(self.upload()))
        self.release_files()
        with self.assertLogs("popcube_server.services.media.upload_safety", "WARNING"):
            for _ in range(8):
                self.settle()
        self.assertEqual(self.stored_files(BERTA), 2)

    def test_without_the_other_site_uploads_are_answered(self) -> None:
        self.cut()
        pending = self.upload()
        self.assertNoResult(pending)
        for _ in range(6):
            self.clock.advance(1)
        self.ok(self.finish(pending))


class _Breaking:
    """Passes on one piece of a file per request."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __call__(self, route: Route, request: HttpRequest) -> FarAnswer:
        offset = int(request.uri.partition("offset=")[2])
        rest = self._data[offset:]

        def pieces() -> Iterator[bytes]:
            yield rest[:PIECE_BYTES]
            if len(rest) > PIECE_BYTES:
                raise TransportError("the connection broke")

        return FarAnswer(200, {"content-length": str(len(rest))}, pieces())
