"""`popcube-server register-user` without a running server. (With one: tests/integration.)"""

import contextlib
import io
import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from popcube_server.cli import main

CONFIGURATION = """
server_name: one.example
signing_key: "ed25519 test 0000000000000000000000000000000000000000000"
macaroon_secret_key: macaroon secret
form_secret: form secret
registration_shared_secret: shared secret
media_store_path: {directory}/media
database: {{name: sqlite3, args: {{database: {directory}/homeserver.db}}}}
listeners: [{{path: {directory}/nobody.sock, resources: [{{names: [client]}}]}}]
popcube: {{argon2: {{time_cost: 1, memory: 8192}}}}
"""


class RegisterUserTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.file = self.directory / "homeserver.yaml"
        self.file.write_text(CONFIGURATION.format(directory=self.directory), encoding="utf-8")

    def run_command(self, *words: str) -> tuple[int, str]:
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            status = main(["register-user", "-c", str(self.file), *words])
        return status, output.getvalue()

    def accounts(self) -> list[tuple[str, int]]:
        with contextlib.closing(sqlite3.connect(self.directory / "homeserver.db")) as database:
            return database.execute("SELECT user_id, is_admin FROM accounts ORDER BY user_id").fetchall()

    def test_account_is_made_in_the_database(self) -> None:
        self.assertEqual(self.run_command("-u", "alice", "-p", "x"), (0, "Created @alice:one.example\n"))
        self.assertEqual(self.run_command("-u", "root", "-p", "x", "--admin")[0], 0)
        self.assertEqual(self.accounts(), [("@alice:one.example", 0), ("@root:one.example", 1)])

    def test_password_comes_from_a_file(self) -> None:
        file = self.directory / "password"
        file.write_text("x\n", encoding="utf-8")
        self.assertEqual(self.run_command("-u", "alice", "--password-file", str(file))[0], 0)

    def test_taken_name_is_refused_in_words(self) -> None:
        self.run_command("-u", "alice", "-p", "x")
        self.assertEqual(self.run_command("-u", "alice", "-p", "x"), (1, "This user name is taken.\n"))
        self.assertEqual(len(self.accounts()), 1)

    def test_impossible_name_is_refused_in_words(self) -> None:
        status, output = self.run_command("-u", "a b", "-p", "x")
        self.assertEqual(status, 1)
        self.assertIn("user name", output)
        self.assertNotIn("Traceback", output)
