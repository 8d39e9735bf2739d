"""`popcube-server register-user` beside a running server."""

import contextlib
import io
import shutil
import tempfile
from pathlib import Path

from popcube_server.cli import main
from tests.support.configuration import SqliteFile, write_configuration
from tests.support.server_process import ServerProcess
from tests.support.server_test_case import ServerProcessTestCase


class RegisterUserTests(ServerProcessTestCase):
    def test_account_is_made_through_the_running_server(self) -> None:
        # The path of a socket may have about a hundred bytes only.
        directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, directory)
        listener = {"type": "http", "resources": [{"names": ["client", "health"]}]}
        listeners = [
            {**listener, "path": str(directory / "server.sock")},
            {**listener, "port": 0, "bind_addresses": ["127.0.0.1"]},
        ]
        configuration = write_configuration(
            Path(self.mktemp()).resolve(), SqliteFile(), overrides={"listeners": listeners}
        )
        server = ServerProcess(configuration)
        self.addCleanup(server.kill9)
        server.start()
        self.assertEqual(register(configuration, "alice"), (0, "Created @alice:one.example\n"))
        self.assertEqual(register(configuration, "alice"), (1, "This user name is taken.\n"))
        self.client(server).log_in("alice", "a password")
        # The socket that a killed server leaves behind is not in the way of the next.
        server.kill9()
        server.start()
        self.assertEqual(register(configuration, "bob"), (0, "Created @bob:one.example\n"))


def register(configuration: Path, name: str) -> tuple[int, str]:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        status = main(["register-user", "-c", str(configuration), "-u", name, "-p", "a password"])
    return status, output.getvalue()
