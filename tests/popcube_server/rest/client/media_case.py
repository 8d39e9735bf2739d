"""The base of tests of the media endpoints: uploads, and answers with their heads."""

from dataclasses import dataclass
from typing import Any

from twisted.web.client import readBody

from tests.popcube_server.server_case import ONE, ServerTestCase, TestUser
from tests.support.openapi import specification

NEW = "/_matrix/client/v1/media"
OLD = "/_matrix/media/v3"


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer with bytes."""

    status: int
    length: int
    """What the head said before the data came."""
    headers: dict[str, str]
    data: bytes


class MediaTestCase(ServerTestCase):
    def given_media(
        self,
        user: TestUser,
        data: bytes = b"data",
        content_type: str | None = "text/plain",
        file_name: str | None = None,
    ) -> str:
        """`server/media_id` of an upload."""
        query = "" if file_name is None else f"?filename={file_name}"
        headers = {} if content_type is None else {"Content-Type": content_type}
        path = f"{OLD}/upload{query}"
        answer = self.ok(self.call("POST", path, data, user, headers))
        specification().validate_response("POST", path, 200, answer)
        return self.short(answer["content_uri"])

    def given_reserved(self, user: TestUser) -> str:
        """`server/media_id` of an ID without content."""
        answer = self.ok(self.post("/_matrix/media/v1/create", {}, user))
        specification().validate_response("POST", "/_matrix/media/v1/create", 200, answer)
        self.assertEqual(answer["unused_expires_at"], int(self.clock.seconds() * 1000) + 24 * 3600 * 1000)
        return self.short(answer["content_uri"])

    def short(self, uri: str) -> str:
        self.assertRegex(uri, r"^mxc://[a-z.]+/[A-Za-z0-9_-]{24}$")
        return uri.removeprefix("mxc://")

    def fetch(self, path: str, user: TestUser | None = None, server_name: str = ONE) -> Fetched:
        """An answer that must be a success, and one that the specification allows."""
        pending = self.begin("GET", path, None, user, None, server_name)
        self.network.flush()
        self._agent.flush()
        response = self.successResultOf(pending)
        reading = readBody(response)
        self._agent.flush()
        data = self.successResultOf(reading)
        headers = {
            name.decode().lower(): values[-1].decode("latin-1")
            for name, values in response.headers.getAllRawHeaders()
            # The moment of the answer is the machine's own.
            if name.lower() != b"date"
        }
        self.assertEqual(response.code, 200, data)
        specification().validate_response("GET", path, 200, None, headers["content-type"])
        return Fetched(response.code, response.length, headers, data)

    def assert_refusal(
        self, method: str, path: str, answer: tuple[int, Any], status: int, errcode: str
    ) -> None:
        """A refusal in the form of the specification."""
        self.assert_refused(answer, status, errcode)
        specification().validate_response(method, path, status, answer[1])

    def assert_get_refused(self, path: str, user: TestUser | None, status: int, errcode: str) -> None:
        self.assert_refusal("GET", path, self.get(path, user), status, errcode)

    def stored_files(self, server_name: str = ONE) -> int:
        """How many files the organization's media store holds, finished or not."""
        folder = self.directory / server_name / "media"
        return sum(path.is_file() for path in folder.rglob("*"))
