"""A request's body is read after others were waited for: its client may be gone by then."""

from io import BytesIO
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request
from twisted.web.test.requesthelper import DummyChannel

from popcube_server.rest.endpoint import Payload
from popcube_server.rest.front_door.body import SignedBody, content_length, read_json
from popcube_server.rest.front_door.door import JsonLimits
from popcube_server.services.errors import NotJson

LIMITS = JsonLimits(100, 10, 100)


class BodyTests(SynchronousTestCase):
    def setUp(self) -> None:
        channel: Any = DummyChannel()
        self.request = Request(channel)
        self.request.content = self.content = BytesIO(b'{"a":1}')

    def test_json_is_read(self) -> None:
        self.assertEqual(read_json(self.request, Payload.OPTIONAL_JSON_OBJECT, LIMITS), {"a": 1})

    def test_body_of_a_client_that_is_gone_is_no_empty_body(self) -> None:
        self.content.close()
        for payload in (Payload.JSON_OBJECT, Payload.OPTIONAL_JSON_OBJECT):
            self.assertRaises(NotJson, read_json, self.request, payload, LIMITS)

    def test_signed_body_that_was_read_outlives_the_connection(self) -> None:
        body = SignedBody(self.request, 100)
        self.assertEqual(body.read(), {"a": 1})
        self.content.close()
        self.assertEqual((body.read(), content_length(self.request)), ({"a": 1}, 0))

    def test_signed_body_that_is_gone_is_no_missing_body(self) -> None:
        body = SignedBody(self.request, 100)
        self.content.close()
        self.assertRaises(NotJson, body.read)
