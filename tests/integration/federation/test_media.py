"""Files that were uploaded on one server and are looked at on the other."""

import io
import os
from urllib.parse import quote

from PIL import Image

from tests.integration.federation.pairs import (
    OursOnPostgresWithSynapse,
    OursOnSqliteWithSynapse,
    Scenarios,
    TwoOfOurs,
)
from tests.integration.federation.peers import Answer, User, eventually

DOWNLOAD = "/_matrix/client/v1/media/download"
THUMBNAIL = "/_matrix/client/v1/media/thumbnail"


def upload(user: User, data: bytes, content_type: str, file_name: str) -> str:
    """`server/media_id`."""
    path = f"/_matrix/media/v3/upload?filename={quote(file_name)}"
    uri: str = user.call_bytes("POST", path, data, content_type).ok()["content_uri"]
    return uri.removeprefix("mxc://")


def picture() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (800, 600), (200, 30, 30)).save(data, "PNG")
    return data.getvalue()


def served(answer: Answer) -> Answer:
    assert answer.status == 200, answer
    return answer


class MediaScenarios(Scenarios):
    def test_file_is_downloaded_as_it_was_uploaded(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            data = os.urandom(3_000_000)
            media = upload(alice, data, "application/x-secret", "caf\u00e9 1.bin")
            for _ in range(2):
                got = served(bob.call("GET", f"{DOWNLOAD}/{media}"))
                self.assertEqual(got.headers["content-type"], "application/x-secret")
                self.assertIn("caf%C3%A9%201.bin", got.headers["content-disposition"])
                self.assertTrue(got.body == data)

    def test_file_without_a_name_is_downloaded(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            answer = alice.call_bytes("POST", "/_matrix/media/v3/upload", b"x", "text/plain").ok()
            media = answer["content_uri"].removeprefix("mxc://")
            got = served(bob.call("GET", f"{DOWNLOAD}/{media}"))
            self.assertEqual(got.body, b"x")
            # Synapse adds a charset.
            self.assertEqual(got.headers["content-type"].partition(";")[0], "text/plain")

    def test_thumbnail_of_the_other_server_s_picture_is_made(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            media = upload(alice, picture(), "image/png", "red.png")
            size = "width=96&height=96&method=crop"
            got = served(bob.call("GET", f"{THUMBNAIL}/{media}?{size}"))
            self.assertEqual(Image.open(io.BytesIO(got.body)).size, (96, 96))

    def test_unknown_file_is_not_found(self) -> None:
        for near, far in self.both_ways():
            bob = far.register("bob")
            answer = bob.call("GET", f"{DOWNLOAD}/{near.server_name}/unknown")
            self.assertEqual((answer.status, answer.json["errcode"]), (404, "M_NOT_FOUND"))

    def test_file_that_comes_later_is_waited_for(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            uri = alice.post("/_matrix/media/v1/create")["content_uri"]
            media = uri.removeprefix("mxc://")
            early = bob.call("GET", f"{DOWNLOAD}/{media}?timeout_ms=100")
            # Synapse does not hand on what the other server says.
            self.assertIn(
                (early.status, early.json["errcode"]), ((504, "M_NOT_YET_UPLOADED"), (502, "M_UNKNOWN"))
            )
            alice.call_bytes("PUT", f"/_matrix/media/v3/upload/{media}", b"late", "text/plain").ok()

            def came(media: str = media, bob: User = bob) -> bool:
                return bob.call("GET", f"{DOWNLOAD}/{media}").body == b"late"

            eventually(came, "the file arrives")

    def test_avatar_of_a_member_of_the_other_server_is_shown(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            media = upload(alice, picture(), "image/png", "me.png")
            alice.put(f"/profile/{quote(alice.user_id)}/avatar_url", {"avatar_url": f"mxc://{media}"})
            shown = bob.get(f"/profile/{quote(alice.user_id)}")["avatar_url"].removeprefix("mxc://")
            self.assertEqual(served(bob.call("GET", f"{DOWNLOAD}/{shown}")).body, picture())


class MediaOnSqliteWithSynapseTests(OursOnSqliteWithSynapse, MediaScenarios):
    pass


class MediaOnPostgresWithSynapseTests(OursOnPostgresWithSynapse, MediaScenarios):
    pass


class MediaBetweenOursTests(TwoOfOurs, MediaScenarios):
    pass
