"""The command line, as far as no server has to run."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from popcube_server.cli import COMMANDS, main
from popcube_server.version import VERSION
from synapse_like_config.load import load_config

CHECKOUT = Path(__file__).resolve().parent.parent.parent


class CommandLineTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())

    def call(self, *words: str) -> tuple[int, str, str]:
        """Status, standard output, standard error."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main(words)
            except SystemExit as leaving:
                status = int(leaving.code or 0)
        return status, out.getvalue(), err.getvalue()

    def generate(self, *words: str) -> tuple[int, str, str]:
        return self.call(
            "generate-config", "--server-name", "one.example", "--data-directory", str(self.directory), *words
        )


class ChoosingTests(CommandLineTestCase):
    def test_version_is_told(self) -> None:
        self.assertEqual(0, self.call("version")[0])
        self.assertIn(VERSION, self.call("version")[1])
        self.assertEqual(self.call("version"), self.call("--version"))

    def test_help_lists_every_command(self) -> None:
        status, out, _ = self.call()
        self.assertEqual(0, status)
        for name in COMMANDS:
            self.assertIn(name, out)

    def test_an_unknown_command_is_wrong_usage(self) -> None:
        status, _, err = self.call("srve")
        self.assertEqual(2, status)
        self.assertIn("srve", err)

    def test_every_command_explains_itself(self) -> None:
        for name in ("generate-config", "check-config", "version"):
            status, out, _ = self.call(name, "--help")
            self.assertEqual(0, status)
            self.assertIn(f"popcube-server {name}", out)

    def test_version_loads_no_server(self) -> None:
        program = "import sys, popcube_server.cli as c; c.main(['version']); print('twisted' in sys.modules)"
        output = subprocess.run(
            [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True
        ).stdout
        self.assertEqual("False", output.splitlines()[-1])

    def test_a_server_loads_nothing_that_only_some_need_and_no_garbage(self) -> None:
        program = (
            "import gc, sys, popcube_server.cli as c\n"
            "c._load_command('serve')\n"
            "names = ('popcube_server.building.sites', 'popcube_server.building.duties', 'psycopg2', 'twisted.names',\n"
            " 'twisted.web.client', 'twisted.internet.endpoints')\n"
            "print([name for name in names if name in sys.modules])\n"
            "gc.unfreeze()\n"
            "print(gc.collect() < 2500)"
        )
        output = subprocess.run(
            [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True
        ).stdout
        self.assertEqual(["[]", "True"], output.splitlines())

    def test_the_package_runs_as_a_module(self) -> None:
        output = subprocess.run(
            [sys.executable, "-m", "popcube_server", "version"],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        self.assertIn(VERSION, output)


class GenerateConfigTests(CommandLineTestCase):
    def test_what_it_writes_can_be_started_from(self) -> None:
        path = self.directory / "homeserver.yaml"
        self.assertEqual(0, self.generate("-o", str(path))[0])
        loaded = load_config([path])
        self.assertEqual(((), ()), (loaded.warnings, loaded.missing_files))
        self.assertEqual("one.example", loaded.config.server.server_name)
        self.assertEqual(str(self.directory.absolute() / "homeserver.db"), loaded.config.database.sqlite_path)
        self.assertEqual(("127.0.0.1",), loaded.config.listeners[0].addresses)
        self.assertFalse(loaded.config.registration.enable_registration)
        self.assertEqual(0, self.call("check-config", "-c", str(path))[0])

    def test_registration_is_open_only_on_request(self) -> None:
        path = self.directory / "homeserver.yaml"
        self.assertEqual(0, self.generate("--open-registration", "-o", str(path))[0])
        self.assertTrue(load_config([path]).config.registration.enable_registration)

    def test_only_the_owner_can_read_what_it_writes(self) -> None:
        self.generate("-o", str(self.directory / "homeserver.yaml"))
        modes = {path.name: path.stat().st_mode & 0o777 for path in self.directory.iterdir()}
        self.assertEqual({"homeserver.yaml": 0o600, "one.example.signing.key": 0o600}, modes)

    def test_no_two_servers_have_the_same_secrets(self) -> None:
        first, second = self.generate()[1].splitlines(), self.generate()[1].splitlines()
        different = [line.split(":")[0] for line, other in zip(first, second, strict=True) if line != other]
        self.assertEqual(["registration_shared_secret", "macaroon_secret_key", "form_secret"], different)

    def test_nothing_that_exists_is_overwritten(self) -> None:
        path = self.directory / "homeserver.yaml"
        self.generate("-o", str(path))
        before = {file: file.read_bytes() for file in self.directory.iterdir()}
        status, _, err = self.generate("-o", str(path))
        self.assertEqual(1, status)
        self.assertIn("exists already", err)
        self.assertEqual(before, {file: file.read_bytes() for file in self.directory.iterdir()})

    def test_a_wrong_server_name_makes_no_files(self) -> None:
        status, _, err = self.generate("--server-name", "Not A Name")
        self.assertEqual(1, status)
        self.assertIn("server_name", err)
        self.assertFalse(self.directory.exists())

    def test_names_and_paths_with_odd_letters_survive(self) -> None:
        directory = self.directory / 'a "b" \\c: #d'
        path = directory / "homeserver.yaml"
        self.assertEqual(
            0,
            self.generate("--server-name", "[::1]:8448", "--data-directory", str(directory), "-o", str(path))[
                0
            ],
        )
        loaded = load_config([path])
        self.assertEqual((), loaded.missing_files)
        self.assertEqual(str(directory.absolute() / "media_store"), str(loaded.config.media.media_store_path))


class CheckConfigTests(CommandLineTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.directory.mkdir()
        self.path = self.directory / "homeserver.yaml"

    def check(self, text: str) -> tuple[int, str, str]:
        self.path.write_text(text)
        return self.call("check-config", "-c", str(self.path))

    def test_a_good_file_is_called_good(self) -> None:
        status, out, _ = self.check("server_name: one.example\n")
        self.assertEqual(0, status)
        self.assertIn("The configuration of one.example is good.", out)
        self.assertIn("does not exist; the first start makes it", out)
        self.assertEqual([self.path], list(self.directory.iterdir()))

    def test_warnings_are_told(self) -> None:
        status, out, _ = self.check("server_name: one.example\nredis: {}\n")
        self.assertEqual(0, status)
        self.assertIn(f"warning: {self.path}, line 2: redis: ", out)

    def test_a_wrong_value_is_told_with_its_line(self) -> None:
        status, out, err = self.check("server_name: one.example\nbcrypt_rounds: many\n")
        self.assertEqual((1, ""), (status, out))
        self.assertIn(f"{self.path}, line 2: bcrypt_rounds: ", err)

    def test_several_files_merge(self) -> None:
        self.path.write_text("server_name: one.example\n")
        second = self.directory / "more.yaml"
        second.write_text("server_name: two.example\n")
        status, out, _ = self.call("check-config", "-c", str(self.path), "-c", str(second))
        self.assertEqual(0, status)
        self.assertIn("two.example", out)
