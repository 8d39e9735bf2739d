"""Runs `js_sdk/driver.mjs`, a client made of matrix-js-sdk."""

import fcntl
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

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


def run_driver(base_url: str, scenario: str, *more: str) -> None:
    """Raises AssertionError, with what it printed, if the scenario does not go well."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise AssertionError(ADVICE)
    _install_once(npm)
    _run_program([node, "driver.mjs", base_url, scenario, *more], SCENARIO_DEADLINE_S)


def _install_once(npm: str) -> None:
    """Install what the lock file names, unless that has been done; one process at a time."""
    with (DIRECTORY / "package.json").open("rb") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        # npm writes down there what it has installed.
        installed = locked_versions(DIRECTORY / "node_modules" / ".package-lock.json")
        if installed != locked_versions(DIRECTORY / "package-lock.json"):
            _run_program([npm, "ci"], INSTALL_DEADLINE_S)


def _run_program(command: Sequence[str], deadline_s: float) -> None:
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
        raise AssertionError(f"{' '.join(command)} failed:\n{done.stdout}")
