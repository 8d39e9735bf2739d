"""The base of tests that drive a server process over HTTP."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support.configuration import Database, SqliteFile, write_configuration
from tests.support.coverage import CoverageRecorder, coverage_path
from tests.support.http_client import MatrixClient
from tests.support.openapi import specification
from tests.support.server_process import ServerProcess
from tests.support.witness import Witness


class ServerProcessTestCase(SynchronousTestCase):
    """Starts servers and stops them at the end; a test that fails shows what its servers printed."""

    def setUp(self) -> None:
        super().setUp()
        self._servers: list[ServerProcess] = []
        self.witness = Witness(specification(), CoverageRecorder(coverage_path()))
        setattr(self, self._testMethodName, self._with_logs(getattr(self, self._testMethodName)))

    def start_server(
        self, database: Database | None = None, overrides: Mapping[str, Any] | None = None
    ) -> ServerProcess:
        """A fresh server, listening; on SQLite unless told otherwise."""
        directory = Path(self.mktemp()).resolve()
        server = ServerProcess(write_configuration(directory, database or SqliteFile(), overrides=overrides))
        self._servers.append(server)
        self.addCleanup(server.kill9)
        server.start()
        return server

    def client(self, server: ServerProcess) -> MatrixClient:
        """A client without a user, which checks and records every answer."""
        client = MatrixClient(server.base_url, witness=self.witness)
        self.addCleanup(client.close)
        return client

    def _with_logs(self, test: Callable[[], None]) -> Callable[[], None]:
        @functools.wraps(test)
        def wrapped() -> None:
            try:
                test()
            except SkipTest:
                raise
            except Exception as error:
                logs = "".join(f"\n--- the server printed:\n{server.log_text()}" for server in self._servers)
                error.args = (f"{error}{logs}",)
                raise

        return wrapped
