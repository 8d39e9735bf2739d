"""A real Synapse as a process. `make install-synapse` installs it in an environment of its own."""

import http.client
import os
import subprocess
import time
from contextlib import closing
from pathlib import Path

from tests.support.postgres import CHECKOUT

START_DEADLINE_S = 120.0
STOP_DEADLINE_S = 60.0
POLL_S = 0.01
SHOWN_LOG_CHARACTERS = 100_000
LOG_CONFIGURATION = """version: 1
formatters: {plain: {format: "%(asctime)s %(name)s %(levelname)s %(message)s"}}
handlers: {file: {class: logging.FileHandler, filename: homeserver.log, formatter: plain}}
root: {level: LEVEL, handlers: [file]}
disable_existing_loggers: false
"""


def synapse_python() -> Path:
    """The Python that has Synapse; it may be missing."""
    default = CHECKOUT / ".synapse-venv" / "bin" / "python"
    return Path(os.environ.get("POPCUBE_SYNAPSE_PYTHON", default))


def write_log_configuration(directory: Path, level: str) -> Path:
    """What `log_config` of Synapse's configuration names: everything goes to `homeserver.log` beside it."""
    path = directory / "log.yaml"
    path.write_text(LOG_CONFIGURATION.replace("LEVEL", level), encoding="utf-8")
    return path


class SynapseProcess:
    """The main process of Synapse. It can be stopped and started again on the same data."""

    def __init__(self, python: Path, configuration: Path, port: int) -> None:
        """`port` is the one of the configuration where clients are served without TLS."""
        self._python = python
        self._configuration = configuration
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._running().pid

    def start(self) -> None:
        """Returns when it has answered a request. Raises AssertionError, with its log, if it does not."""
        directory = self._configuration.parent
        with (directory / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [self._python, "-m", "synapse.app.homeserver", "-c", self._configuration],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
            )
        deadline_s = time.monotonic() + START_DEADLINE_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.kill9()
                raise AssertionError(f"Synapse does not start.\n{self.log_text()}")
            time.sleep(POLL_S)

    def _answers(self) -> bool:
        with closing(
            http.client.HTTPConnection("127.0.0.1", self._port, timeout=START_DEADLINE_S)
        ) as connection:
            try:
                connection.request("GET", "/_matrix/client/versions")
                return connection.getresponse().status == http.client.OK
            except ConnectionError:
                return False

    def terminate(self) -> None:
        """Ask it to stop, and wait until it has."""
        process = self._running()
        process.terminate()
        process.wait(STOP_DEADLINE_S)

    def kill9(self) -> None:
        """End it at once. No error if it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def log_text(self) -> str:
        """The end of what it printed and logged."""
        files = (self._configuration.parent / name for name in ("output.log", "homeserver.log"))
        return "".join(
            file.read_text(errors="replace")[-SHOWN_LOG_CHARACTERS:] for file in files if file.exists()
        )

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise AssertionError("Synapse has not been started.")
        return self._process
