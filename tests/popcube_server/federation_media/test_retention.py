"""Media that nobody looks at go, if the operator wants it so."""

from tests.popcube_server.rest.client.media_case import NEW, MediaTestCase
from tests.popcube_server.server_case import ONE, TWO
from tests.support.pictures import given_picture

HOUR_S = 3600
DAY_S = 24 * HOUR_S


class RetentionCase(MediaTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob", TWO)

    def days(self, count: int) -> None:
        for _ in range(count * 24):
            self.clock.advance(HOUR_S)

    def look(self, media: str) -> None:
        self.fetch(f"{NEW}/download/{media}", self.alice)

    def assert_gone(self, media: str) -> None:
        path = f"{NEW}/download/{media}"
        self.assert_get_refused(path, self.alice, 404, "M_NOT_FOUND")


class LifetimeTests(RetentionCase):
    extra_configuration = "media_retention: {local_media_lifetime: 10d, remote_media_lifetime: 3d}"

    def test_own_media_that_nobody_looks_at_go_with_their_thumbnails(self) -> None:
        seen, unseen = (self.given_media(self.alice, given_picture(80, 60), "image/png") for _ in range(2))
        self.fetch(f"{NEW}/thumbnail/{unseen}?width=32&height=32&method=crop", self.alice)
        self.assertEqual(self.stored_files(), 3)
        self.days(9)
        self.look(seen)
        self.look(unseen)
        self.days(9)
        self.look(seen)
        self.days(2)
        self.look(seen)
        self.assert_gone(unseen)
        self.assertEqual(self.stored_files(), 1)
        self.days(11)
        self.assert_gone(seen)
        self.assertEqual(self.stored_files(), 0)

    def test_looking_at_a_thumbnail_is_looking(self) -> None:
        media = self.given_media(self.alice, given_picture(80, 60), "image/png")
        for _ in range(4):
            self.days(6)
            self.fetch(f"{NEW}/thumbnail/{media}?width=32&height=32&method=crop", self.alice)
        self.look(media)

    def test_other_servers_that_fetch_are_looking(self) -> None:
        media = self.given_media(self.alice)
        self.days(6)
        self.fetch(f"{NEW}/download/{media}", self.bob)
        self.days(6)
        self.look(media)

    def test_other_servers_media_go_and_are_fetched_again(self) -> None:
        media = self.given_media(self.bob)
        self.look(media)
        self.days(2)
        self.look(media)
        self.days(2)
        self.assertEqual(self.stored_files(), 1)
        self.days(2)
        self.assertEqual((self.stored_files(), self.stored_files(TWO)), (0, 1))
        self.look(media)
        self.assertEqual(self.stored_files(), 1)

    def test_looks_are_known_after_a_restart(self) -> None:
        media = self.given_media(self.alice)
        self.days(9)
        self.look(media)
        self.restart()
        self.days(9)
        self.look(media)

    def test_reserved_ids_are_left_alone(self) -> None:
        media = self.given_reserved(self.alice)
        self.clock.advance(23 * HOUR_S)
        path = f"/_matrix/media/v3/upload/{media}"
        self.ok(self.call("PUT", path, b"late", self.alice))
        self.look(media)


class DefaultTests(RetentionCase):
    def test_nothing_goes_unless_the_operator_wants_it(self) -> None:
        own, far = self.given_media(self.alice), self.given_media(self.bob)
        self.look(far)
        self.days(100)
        self.assertEqual(self.stored_files(), 2)
        self.network.down.add(TWO)
        self.look(own)
        self.look(far)


class RemoteOnlyTests(RetentionCase):
    extra_configuration = "media_retention: {remote_media_lifetime: 3d}"

    def test_own_media_stay(self) -> None:
        own, far = self.given_media(self.alice), self.given_media(self.bob)
        self.look(far)
        self.days(5)
        self.look(own)
        self.assertEqual((self.stored_files(ONE), self.stored_files(TWO)), (1, 1))
