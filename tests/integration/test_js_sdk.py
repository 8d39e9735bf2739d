"""matrix-js-sdk, unchanged, on Node: the library of Element Web and Cinny.

`js_sdk/driver.mjs` is the client that these tests run.
"""

import fcntl
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.server_test_case import ServerProcessTestCase

DIRECTORY = Path(__file__).with_name("js_sdk")
INSTALL_DEADLINE_S = 300.0
SCENARIO_DEADLINE_S = 180.0
ADVICE = "This test needs Node 20 or newer with npm: install Debian's packages `nodejs` and `npm`."


def locked_versions(lock_file: Path) -> Mapping[str, str]:
    """The version of each package in a lock file of npm; none if there is no file."""
    if not lock_file.exists():
        return {}
    packages = json.loads(lock_file.read_text(encoding="utf-8"))["packages"]
    return {path: package["version"] for path, package in packages.items() if path}


class JsSdkTests(ServerProcessTestCase):
    def test_two_users_talk(self) -> None:
        self.run_driver("plain")

    def test_two_users_talk_end_to_end_encrypted(self) -> None:
        self.run_driver("encrypted")

    def run_driver(self, scenario: str) -> None:
        node, npm = shutil.which("node"), shutil.which("npm")
        if node is None or npm is None:
            self.fail(ADVICE)
        self.install_once(npm)
        server = self.start_server()
        self.run_program([node, "driver.mjs", server.base_url, scenario], SCENARIO_DEADLINE_S)

    def install_once(self, npm: str) -> None:
        """Install what the lock file names, unless that has been done; one process at a time."""
        with (DIRECTORY / "package.json").open("rb") as one_at_a_time:
            fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
            # npm writes down there what it has installed.
            installed = locked_versions(DIRECTORY / "node_modules" / ".package-lock.json")
            if installed != locked_versions(DIRECTORY / "package-lock.json"):
                self.run_program([npm, "ci"], INSTALL_DEADLINE_S)

    def run_program(self, command: list[str], deadline_s: float) -> None:
        done = subprocess.run(
            command,
            cwd=DIRECTORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=deadline_s,
            check=False,
        )
        if done.returncode != 0:
            self.fail(f"{' '.join(command)} failed:\n{done.stdout}")
