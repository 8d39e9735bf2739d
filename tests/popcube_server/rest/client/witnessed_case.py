"""`ServerTestCase` whose every answer is judged by the specification's schemas and counted as covered."""

from collections.abc import Mapping
from typing import Any

from tests.popcube_server.server_case import ONE, Body, ServerTestCase, TestUser
from tests.support.coverage import CoverageRecorder, coverage_path
from tests.support.openapi import specification
from tests.support.witness import Witness


class WitnessedTestCase(ServerTestCase):
    def setUp(self) -> None:
        self.witness = Witness(specification(), CoverageRecorder(coverage_path()))
        super().setUp()

    def call(
        self,
        method: str,
        path: str,
        body: Body = None,
        user: TestUser | None = None,
        headers: Mapping[str, str] | None = None,
        server_name: str = ONE,
    ) -> tuple[int, Any]:
        status, answer = super().call(method, path, body, user, headers, server_name)
        if not isinstance(answer, bytes):
            sent = None if isinstance(body, bytes) else body
            self.witness.saw(method, path, sent, status, {"content-type": "application/json"}, answer)
        return status, answer
