"""Walks the specification's table of endpoints and compares what the server lacks with `not_yet.txt`."""

import re
from collections.abc import Iterator

from tests.support.configuration import EVERY_FEATURE
from tests.support.http_client import MatrixClient
from tests.support.not_yet import read_not_yet
from tests.support.openapi import Operation, specification
from tests.support.server_test_case import ServerProcessTestCase

# A value for each parameter, so that the server gets as far as it can without a user.
PARAMETERS = {
    "userId": "@alice:one.example",
    "roomId": "!room:one.example",
    "roomIdOrAlias": "!room:one.example",
    "roomAlias": "%23room:one.example",
    "eventId": "$event",
    "serverName": "one.example",
    "scope": "global",
    "kind": "override",
    "receiptType": "m.read",
    "relType": "m.thread",
    "keyName": "displayname",
}


def minimal_path(operation: Operation) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: PARAMETERS.get(found[1], "x"), operation.path)


def served_operations() -> Iterator[Operation]:
    """What clients and other servers may ask of this one."""
    for operation in specification().operations():
        if operation.api in ("cs", "ss"):
            yield operation


class EndpointTests(ServerProcessTestCase):
    def test_what_is_missing_is_what_the_list_says(self) -> None:
        server = self.start_server(overrides=EVERY_FEATURE)
        # Without a token or signature nothing is changed, and an endpoint that exists says that it wants one.
        with MatrixClient(server.base_url) as nobody:
            missing = {
                f"{operation.method} {operation.path}"
                for operation in served_operations()
                if self.is_unrecognized(nobody, operation)
            }
        # An operation that shares its path with another cannot be seen to be missing from here.
        listed = {entry.path for entry in read_not_yet() if not entry.operation_id}
        self.assertEqual(sorted(missing - listed), [], "missing, but not in not_yet.txt")
        self.assertEqual(sorted(listed - missing), [], "in not_yet.txt, but there")

    def test_each_entry_of_the_list_has_a_reason_and_is_an_operation(self) -> None:
        for entry in read_not_yet():
            self.assertTrue(any(map(entry.is_about, served_operations())), f"{entry.path} is no operation")
            self.assertNotEqual(entry.reason, "", f"{entry.path} has no reason")

    def test_path_that_nobody_specified_is_unrecognized(self) -> None:
        nobody = self.client(self.start_server())
        nobody.get("/no_such_endpoint").expect_error(404, "M_UNRECOGNIZED")
        nobody.delete("/sync").expect_error(405, "M_UNRECOGNIZED")

    def is_unrecognized(self, nobody: MatrixClient, operation: Operation) -> bool:
        body: dict[str, object] | None = {} if operation.method in ("POST", "PUT") else None
        answer = nobody.request(operation.method, minimal_path(operation), body)
        errcode = answer.json.get("errcode") if isinstance(answer.json, dict) else None
        return answer.status in (404, 405) and errcode == "M_UNRECOGNIZED"
