"""Files: uploaded, downloaded, made smaller."""

import io

from PIL import Image

from tests.integration.tour.visit import Visit


def png(width: int, height: int) -> bytes:
    picture = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(picture, "PNG")
    return picture.getvalue()


def files(visit: Visit) -> None:
    user = visit.user("media")
    picture = png(200, 100)
    upload = user.request_bytes(
        "POST", "/_matrix/media/v3/upload", picture, "image/png", query={"filename": "red.png"}
    )
    place = upload.expect(200)["content_uri"].removeprefix("mxc://")
    for path in (
        f"/_matrix/client/v1/media/download/{place}",
        f"/_matrix/client/v1/media/download/{place}/a.png",
    ):
        answer = user.get(path)
        assert (answer.status, answer.body, answer.headers["content-type"]) == (200, picture, "image/png")
    small = {"width": "32", "height": "32", "method": "scale"}
    thumbnail = user.get(f"/_matrix/client/v1/media/thumbnail/{place}", small)
    assert thumbnail.status == 200, thumbnail
    assert Image.open(io.BytesIO(thumbnail.body)).width <= 200
    assert user.get("/_matrix/client/v1/media/config").expect(200)["m.upload.size"] > 0
    assert user.get("/_matrix/media/v3/config").expect(200)["m.upload.size"] > 0


def reserved_files(visit: Visit) -> None:
    user = visit.user("reserved_media")
    created = user.post("/_matrix/media/v1/create").expect(200)
    place = created["content_uri"].removeprefix("mxc://")
    answer = user.request_bytes("PUT", f"/_matrix/media/v3/upload/{place}", b"later", "text/plain")
    answer.expect(200)
    assert user.get(f"/_matrix/client/v1/media/download/{place}").body == b"later"


def files_by_the_old_paths(visit: Visit) -> None:
    user = visit.user("old_media")
    picture = png(64, 64)
    upload = user.request_bytes("POST", "/_matrix/media/v3/upload", picture, "image/png")
    place = upload.expect(200)["content_uri"].removeprefix("mxc://")
    nobody = visit.open_client()
    for path in (f"/_matrix/media/v3/download/{place}", f"/_matrix/media/v3/download/{place}/a.png"):
        assert nobody.get(path).body == picture
    small = {"width": "32", "height": "32"}
    assert nobody.get(f"/_matrix/media/v3/thumbnail/{place}", small).status == 200


STOPS = (
    files,
    reserved_files,
    files_by_the_old_paths,
)
