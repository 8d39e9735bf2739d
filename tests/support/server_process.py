"""The server as a user starts it: a process of its own, on a free port, in a directory of the test."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.support.postgres import CHECKOUT

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 30.0
KEPT_LOG_LINES = 400
LISTENING = re.compile(r"Listening on (https?://\S+)")


@dataclass(frozen=True)
class Usage:
    """What a process has used so far."""

    resident_bytes: int
    cpu_s: float


class ServerProcess:
    """One `popcube_server serve`. It can be stopped in every way and started again on the same data."""

    def __init__(self, configuration: Path, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        """`environment`: variables beside those of this process."""
        self._configuration = configuration
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None
        self._log: deque[str] = deque(maxlen=KEPT_LOG_LINES)
        self._base_url = ""

    @property
    def base_url(self) -> str:
        """Where the first listener is, without a slash at the end. It changes with each start."""
        return self._base_url

    @property
    def pid(self) -> int:
        return self._running().pid

    def start(self) -> None:
        """Returns when the server listens. Raises AssertionError, with its log, if it does not."""
        process = subprocess.Popen(
            [sys.executable, "-m", "popcube_server", "serve", "-c", str(self._configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=self._configuration.parent,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1", **self._environment},
        )
        self._process = process
        addresses: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read_output, args=(process, addresses), daemon=True).start()
        try:
            address = addresses.get(timeout=START_DEADLINE_S)
        except queue.Empty:
            address = None
        if address is None:
            self.kill9()
            raise AssertionError(f"The server does not start.\n{self.log_text()}")
        self._base_url = address.rstrip("/")

    def _read_output(self, process: subprocess.Popen[str], addresses: queue.Queue[str | None]) -> None:
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                self._log.append(line)
                found = LISTENING.search(line)
                if found is not None:
                    addresses.put(found[1])
        addresses.put(None)

    def terminate(self) -> int:
        """Ask the server to stop, as an operator does; its exit status."""
        self._running().send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """The exit status of a server that was asked to stop."""
        process = self._running()
        try:
            return process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise AssertionError(f"The server does not stop on SIGTERM.\n{self.log_text()}") from None

    def kill9(self) -> None:
        """End it at once, whatever it is doing. No error if it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def usage(self) -> Usage:
        """Resident memory and processor time, as `ps` shows them."""
        directory = Path("/proc") / str(self.pid)
        resident_pages = int((directory / "statm").read_text().split()[1])
        # The name of the program stands in parentheses and may hold blanks.
        after_name = (directory / "stat").read_text().rpartition(")")[2].split()
        ticks = int(after_name[11]) + int(after_name[12])
        return Usage(
            resident_bytes=resident_pages * os.sysconf("SC_PAGE_SIZE"),
            cpu_s=ticks / os.sysconf("SC_CLK_TCK"),
        )

    def log_text(self) -> str:
        """The last lines that the server printed."""
        return "".join(self._log)

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise AssertionError("The server has not been started.")
        return self._process
