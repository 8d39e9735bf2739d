"""Files, lines, merging and warnings."""

import os
from pathlib import Path

from synapse_like_config.errors import ConfigError
from synapse_like_config.load import load_config, parse_config
from synapse_like_config.secret_files import write_missing_file
from tests.synapse_like_config.config_case import BASE, KEY, ConfigTestCase


class PlaceTests(ConfigTestCase):
    def test_a_wrong_value_is_named_by_file_line_and_key(self) -> None:
        error = self.error("\nenable_registration: perhaps\n")
        self.assertEqual(("homeserver.yaml", 4, "enable_registration"), (error.file, error.line, error.key))
        self.assertIn("homeserver.yaml, line 4: enable_registration: must be true or false", str(error))

    def test_a_wrong_nested_value_is_named_by_its_own_line(self) -> None:
        error = self.error("rc_login:\n  account:\n    burst_count: 5\n    per_second: fast\n")
        self.assertEqual((6, "rc_login.account.per_second"), (error.line, error.key))

    def test_a_wrong_item_of_a_list_is_named_by_its_number(self) -> None:
        error = self.error("listeners:\n  - port: 8008\n  - port: 99999\n")
        self.assertEqual((5, "listeners[1].port"), (error.line, error.key))

    def test_a_mapping_where_a_section_is_expected(self) -> None:
        self.assertIn("must be a mapping, not a list", str(self.error("rc_message: [1]\n")))
        self.assertIn("must be a list, not a mapping", str(self.error("listeners: {port: 1}\n")))

    def test_a_missing_required_option_is_named(self) -> None:
        error = self.assertRaises(ConfigError, parse_config, [("a.yaml", "pid_file: x\n")], Path())
        self.assertEqual("a.yaml: server_name: this option is required", str(error))

    def test_broken_yaml_is_named_by_its_line(self) -> None:
        error = self.error("database: [\n")
        self.assertIn("this is not YAML", error.message)
        self.assertTrue(error.line >= 3)

    def test_hostile_yaml_makes_no_objects(self) -> None:
        error = self.error("pid_file: !!python/object/apply:os.system ['true']\n")
        self.assertIn("homeserver.yaml", str(error))

    def test_an_alias_that_contains_itself_is_refused(self) -> None:
        self.assertIn("nested too deeply", str(self.error("database: &a {args: *a}\n")))

    def test_a_file_that_is_not_there(self) -> None:
        error = self.assertRaises(ConfigError, load_config, [Path("/nonexistent/homeserver.yaml")])
        self.assertIn("cannot be read", str(error))

    def test_a_secret_is_neither_in_errors_nor_in_the_repr(self) -> None:
        self.assertNotIn("hush", str(self.error("macaroon_secret_key: {a: hush}\n")))
        config = self.config(
            "macaroon_secret_key: hush1\nregistration_shared_secret: hush2\nform_secret: hush3\n"
            "turn_shared_secret: hush4\npassword_config: {pepper: hush5}\nemail: {smtp_pass: hush6}\n"
            "database: {name: psycopg2, args: {password: hush7}}\nturn_password: hush8\n"
            "media_storage_providers: [{module: s3, config: {secret_access_key: hush9}}]\n"
            "oidc_providers: [{idp_id: a, issuer: 'https://a', client_id: b, client_secret: hush0}]\n"
        )
        self.assertEqual("hush1", config.secrets.macaroon_secret_key)
        self.assertNotIn("hush", repr(config))
        self.assertNotIn(KEY[:12], repr(config))
        self.assertNotIn(repr(config.keys.signing_keys[0].seed)[2:-1], repr(config))


class MergeTests(ConfigTestCase):
    def test_a_later_file_replaces_whole_top_level_options(self) -> None:
        first = BASE + "rc_message: {per_second: 7, burst_count: 70}\nenable_search: false\n"
        second = "rc_message: {per_second: 8}\n"
        config = parse_config([("a.yaml", first), ("b.yaml", second)], Path()).config
        self.assertEqual(8, config.rate_limits.rc_message.per_second)
        # Not 70: the option was replaced as a whole, and what it leaves out is the default.
        self.assertEqual(10, config.rate_limits.rc_message.burst_count)
        self.assertFalse(config.rooms.enable_search)

    def test_an_error_names_the_file_it_is_in(self) -> None:
        texts = [("a.yaml", BASE), ("b.yaml", "# here\nbcrypt_rounds: 99\n")]
        error = self.assertRaises(ConfigError, parse_config, texts, Path())
        self.assertEqual(("b.yaml", 2), (error.file, error.line))


class WarningTests(ConfigTestCase):
    def assert_warns(self, text: str, expected: str) -> None:
        self.assertIn(expected, self.loaded(text).warnings)

    def test_defaults_need_no_warning(self) -> None:
        self.assertEqual((), self.loaded().warnings)

    def test_a_typing_mistake_is_answered_with_the_nearest_name(self) -> None:
        self.assert_warns(
            "enable_registraton: true\n",
            "homeserver.yaml, line 3: enable_registraton: unknown option, ignored; is enable_registration meant?",
        )

    def test_a_nested_typing_mistake_is_found_too(self) -> None:
        self.assert_warns(
            "rc_message:\n  per_secnd: 1\n",
            "homeserver.yaml, line 4: rc_message.per_secnd: unknown option, ignored; is per_second meant?",
        )

    def test_an_option_that_only_synapse_has_is_named(self) -> None:
        self.assert_warns(
            "redis: {enabled: true}\n",
            "homeserver.yaml, line 3: redis: this server does not have this option of Synapse; it is ignored",
        )

    def test_an_option_not_yet_in_effect_is_named(self) -> None:
        self.assert_warns(
            "oidc_providers: []\n",
            "homeserver.yaml, line 3: oidc_providers: not yet in effect in this version",
        )

    def test_an_option_set_twice_is_named(self) -> None:
        self.assert_warns(
            "enable_search: true\nenable_search: false\n",
            "homeserver.yaml, line 4: enable_search: set a second time; the last one counts",
        )

    def test_an_unknown_option_of_our_own_is_an_error(self) -> None:
        error = self.error("popcube:\n  memory:\n    live_room: 5\n")
        self.assertEqual((5, "popcube.memory.live_room"), (error.line, error.key))
        self.assertIn("is live_rooms meant?", error.message)
        self.assertEqual(5, self.config("popcube: {memory: {live_rooms: 5}}\n").popcube.memory.live_rooms)

    def test_several_databases_are_refused(self) -> None:
        self.assertEqual("databases", self.error("databases: {a: {}}\n").key)


class SecretFileTests(ConfigTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path

    def test_a_first_start_makes_the_missing_files(self) -> None:
        path = self.write(
            "homeserver.yaml",
            f"server_name: one.example\nregistration_shared_secret_path: {self.directory.absolute()}/secret\n",
        )
        before = load_config([path])
        self.assertEqual(
            ["signing_key_path", "registration_shared_secret_path"], [m.key for m in before.missing_files]
        )
        for missing in before.missing_files:
            write_missing_file(missing, lambda count: bytes(range(count)))
            self.assertEqual(0o600, missing.path.stat().st_mode & 0o777)
        after = load_config([path])
        self.assertEqual((), after.missing_files)
        self.assertEqual(bytes(range(32)), after.config.keys.signing_keys[0].seed)
        self.assertEqual(bytes(range(32)).hex(), after.config.registration.registration_shared_secret)
        self.assertEqual([self.directory / "one.example.signing.key"], list(self.directory.glob("*.key")))

    def test_a_file_that_exists_is_never_overwritten(self) -> None:
        path = self.write("homeserver.yaml", "server_name: one.example\n")
        missing = load_config([path]).missing_files[0]
        write_missing_file(missing, os.urandom)
        self.assertRaises(FileExistsError, write_missing_file, missing, os.urandom)

    def test_secrets_are_read_from_their_files(self) -> None:
        secret = self.write("secret", "  hush\n").absolute()
        config = self.config(f"turn_shared_secret_path: {secret}\nmacaroon_secret_key_path: {secret}\n")
        self.assertEqual("hush", config.turn.turn_shared_secret)
        self.assertEqual("hush", config.secrets.macaroon_secret_key)

    def test_a_secret_and_its_file_together_are_refused(self) -> None:
        error = self.error("form_secret: a\nform_secret_path: /b\n")
        self.assertEqual("form_secret_path", error.key)

    def test_a_file_that_nobody_makes_must_exist(self) -> None:
        self.assertEqual("form_secret_path", self.error("form_secret_path: /nonexistent/secret\n").key)

    def test_without_a_macaroon_secret_one_is_derived_and_stays(self) -> None:
        first, second = self.config(), self.config()
        self.assertEqual(64, len(first.secrets.macaroon_secret_key or ""))
        self.assertEqual(first.secrets.macaroon_secret_key, second.secrets.macaroon_secret_key)
        # As Synapse: the registration secret comes before the derived one.
        self.assertEqual(
            "hush", self.config("registration_shared_secret: hush\n").secrets.macaroon_secret_key
        )
