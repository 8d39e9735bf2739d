"""What single sections promise."""

from synapse_like_config.database import DatabaseConfig
from synapse_like_config.ratelimits import RateLimit
from tests.synapse_like_config.config_case import KEY, ConfigTestCase


class ServerTests(ConfigTestCase):
    def test_the_base_url_follows_the_server_name(self) -> None:
        self.assertEqual("https://one.example/", self.config().server.client_base_url)
        config = self.config("public_baseurl: https://m.one.example\n")
        self.assertEqual("https://m.one.example/", config.server.client_base_url)

    def test_server_names_are_checked(self) -> None:
        for name in (
            "Two.Example",
            "two example",
            "https://two.example",
            "two.example/",
            "''",
            "two.example:http",
        ):
            self.assertEqual("server_name", self.error(f"server_name: {name}\n").key)
        for name in ("two.example", "two.example:8448", "10.0.0.1", "'[::1]:8448'", "localhost"):
            self.assertEqual(name.strip("'"), self.config(f"server_name: {name}\n").server.server_name)


class ListenerTests(ConfigTestCase):
    def test_without_listeners_only_this_machine_is_served(self) -> None:
        (listener,) = self.config().listeners
        self.assertEqual((8008, ("127.0.0.1",)), (listener.port, listener.addresses))

    def test_a_listener_without_address_binds_all(self) -> None:
        (listener,) = self.config("listeners: [{port: 1, resources: [{names: [client]}]}]\n").listeners
        self.assertEqual(("::", "0.0.0.0"), listener.addresses)

    def test_a_resource_brings_what_it_needs(self) -> None:
        (listener,) = self.config("listeners: [{port: 1, resources: [{names: federation}]}]\n").listeners
        self.assertEqual({"federation", "media", "keys", "openid", "health"}, listener.resource_names)

    def test_an_unknown_resource_is_refused(self) -> None:
        error = self.error("listeners:\n  - port: 1\n    resources:\n      - names: [clients]\n")
        self.assertEqual((6, "listeners[0].resources[0].names"), (error.line, error.key))

    def test_a_unix_socket_stands_behind_a_proxy(self) -> None:
        text = "listeners: [{path: /run/x.sock, mode: 660, resources: [{names: [client]}]}, {port: 1, type: metrics}]\n"
        socket, port = self.config(text).listeners
        self.assertTrue(socket.believes_x_forwarded_for)
        self.assertEqual(0o660, socket.mode)
        self.assertFalse(port.believes_x_forwarded_for)
        self.assertEqual({"metrics", "health"}, port.resource_names)

    def test_port_and_path_exclude_each_other(self) -> None:
        self.assertIn("either a port or the path", str(self.error("listeners: [{port: 1, path: /x}]\n")))
        self.assertIn("either a port or the path", str(self.error("listeners: [{type: http}]\n")))

    def test_tls_needs_a_certificate(self) -> None:
        text = "listeners: [{port: 8448, tls: true}]\n"
        self.assertEqual("tls_certificate_path", self.error(text).key)
        self.assertEqual("tls_private_key_path", self.error(text + "tls_certificate_path: /a.pem\n").key)
        complete = text + "tls_certificate_path: /a.pem\ntls_private_key_path: /b.pem\n"
        self.assertTrue(self.config(complete).listeners[0].tls)

    def test_resources_that_do_not_exist_here_are_named_in_a_warning(self) -> None:
        loaded = self.loaded(
            "listeners: [{port: 1, resources: [{names: [replication]}]}, {port: 2, type: manhole}]\n"
        )
        self.assertEqual(2, len(loaded.warnings))


class DatabaseTests(ConfigTestCase):
    def test_sqlite_has_a_path(self) -> None:
        database = self.config("database: {name: sqlite3, args: {database: /a/b.db}}\n").database
        self.assertEqual(("sqlite3", "/a/b.db"), (database.name, database.sqlite_path))

    def test_postgres_arguments_are_those_of_libpq(self) -> None:
        text = "database: {name: psycopg2, args: {user: u, password: p, dbname: d, port: 5432, cp_min: 2, cp_max: 4}}\n"
        database = self.config(text).database
        self.assertEqual("psycopg2", database.name)
        self.assertEqual(
            {"user": "u", "password": "p", "dbname": "d", "port": 5432}, database.connection_arguments
        )
        self.assertEqual((2, 4), (database.cp_min, database.cp_max))

    def test_the_pool_has_synapses_size_unless_told(self) -> None:
        self.assertEqual((5, 10), (DatabaseConfig().cp_min, DatabaseConfig().cp_max))
        self.assertEqual(
            (3, 3), (DatabaseConfig(args={"cp_max": 3}).cp_min, DatabaseConfig(args={"cp_max": 3}).cp_max)
        )

    def test_senseless_pools_are_refused(self) -> None:
        for args in ("{cp_min: 0}", "{cp_max: many}", "{cp_min: 6, cp_max: 5}"):
            self.assertIn(
                "database.args.cp_m", self.error(f"database: {{name: psycopg2, args: {args}}}\n").key
            )

    def test_pool_that_is_too_small_for_the_threads_is_refused(self) -> None:
        self.assertEqual(4, self.config("database: {name: psycopg2, args: {cp_max: 4}}\n").database.cp_max)
        error = self.error("database: {name: psycopg2, args: {cp_max: 3}}\n")
        self.assertEqual("database.args.cp_max", error.key)
        self.assertIn("must be 4 at least", str(error))
        # SQLite has no pool.
        self.config("database: {name: sqlite3, args: {cp_max: 1}}\n")

    def test_other_engines_are_refused(self) -> None:
        self.assertIn("must be one of sqlite3, psycopg2", str(self.error("database: {name: mysql}\n")))


class KeyTests(ConfigTestCase):
    def test_all_keys_are_read_and_the_first_one_is_first(self) -> None:
        config = self.config(f'signing_key: "ed25519 b {KEY}\\n\\ned25519 a {KEY}\\n"\n')
        self.assertEqual(["ed25519:b", "ed25519:a"], [key.key_id for key in config.keys.signing_keys])
        self.assertEqual(bytes.fromhex("0123456789abcdef" * 4), config.keys.signing_keys[0].seed)

    def test_broken_keys_are_refused_without_being_shown(self) -> None:
        for text in (
            f"rsa a {KEY}",
            f"ed25519 a-b {KEY}",
            "ed25519 a AAAA",
            f"ed25519 a {KEY}!",
            "ed25519 a",
            "''",
        ):
            error = self.error(f"signing_key: {text}\n")
            self.assertEqual("signing_key", error.key)
            self.assertNotIn(KEY, str(error))

    def test_old_keys_have_an_end(self) -> None:
        (old,) = self.config(
            f'old_signing_keys: {{"ed25519:o": {{key: {KEY}, expired_ts: 12}}}}\n'
        ).keys.old_signing_keys
        self.assertEqual(("ed25519:o", 12, 32), (old.key_id, old.expired_ts, len(old.verify_key)))
        self.assertEqual(
            "old_signing_keys", self.error(f"old_signing_keys: {{'ed25519:o': {{key: {KEY}}}}}\n").key
        )


class RegistrationTests(ConfigTestCase):
    def test_an_open_door_must_be_meant(self) -> None:
        error = self.error("enable_registration: true\n")
        self.assertIn("enable_registration_without_verification", error.message)
        for more in ("enable_registration_without_verification: true", "registration_requires_token: true"):
            self.assertTrue(
                self.config(f"enable_registration: true\n{more}\n").registration.enable_registration
            )

    def test_private_rooms_need_somebody_who_invites(self) -> None:
        text = "auto_join_rooms: ['#a:one.example']\nautocreate_auto_join_room_preset: private_chat\n"
        self.assertEqual("auto_join_mxid_localpart", self.error(text).key)
        self.assertEqual("auto_join_rooms", self.error("auto_join_rooms: [a]\n").key)


class OtherSectionTests(ConfigTestCase):
    def test_a_partial_rate_limit_keeps_its_own_defaults(self) -> None:
        limits = self.config("rc_joins: {remote: {per_second: 9}}\n").rate_limits
        self.assertEqual(RateLimit(9, 10), limits.rc_joins.remote)
        self.assertEqual(RateLimit(0.1, 10), limits.rc_joins.local)
        self.assertIsNone(limits.rc_admin_redaction)

    def test_passwords_can_be_for_confirmation_only(self) -> None:
        config = self.config("password_config: {enabled: only_for_reauth}\n").passwords.password_config
        self.assertEqual((False, True), (config.is_login_enabled, config.is_reauth_enabled))
        config = self.config("password_config: {enabled: false}\n").passwords.password_config
        self.assertEqual((False, False), (config.is_login_enabled, config.is_reauth_enabled))

    def test_presence_can_be_untracked(self) -> None:
        self.assertTrue(self.config().presence.is_tracked)
        self.assertFalse(self.config("presence: {enabled: untracked}\n").presence.is_tracked)
        self.assertEqual("presence.enabled", self.error("presence: {enabled: sometimes}\n").key)

    def test_no_rules_and_an_empty_list_of_rules_differ(self) -> None:
        self.assertIsNone(self.config("alias_creation_rules:\n").directory.alias_creation_rules)
        self.assertEqual((), self.config("alias_creation_rules: []\n").directory.alias_creation_rules)

    def test_a_rule_matches_by_globs(self) -> None:
        (rule,) = (
            self.config(
                "alias_creation_rules: [{alias: '#*cat*:one.example'}]\n"
            ).directory.alias_creation_rules
            or ()
        )
        self.assertTrue(rule.has_match("@a:one.example", "!r", ("#dog:one.example", "#the_cats:one.example")))
        self.assertFalse(rule.has_match("@a:one.example", "!r", ()))

    def test_previews_need_to_know_what_is_private(self) -> None:
        error = self.error("url_preview_enabled: true\n")
        self.assertEqual("url_preview_ip_range_blacklist", error.key)

    def test_address_ranges_are_checked(self) -> None:
        config = self.config("ip_range_whitelist: [10.1.2.3/8, '::1']\n")
        self.assertEqual(
            ["10.0.0.0/8", "::1/128"], [str(network) for network in config.federation.ip_range_whitelist]
        )
        self.assertIn("must be an IP address", str(self.error("ip_range_whitelist: [example.org]\n")))

    def test_mail_has_the_port_of_its_tls(self) -> None:
        plain, tls = self.config("email: {}\n").email, self.config("email: {force_tls: true}\n").email
        assert plain is not None and tls is not None
        self.assertEqual((25, 465), (plain.port, tls.port))
        self.assertEqual("email.force_tls", self.error("email: {force_tls: true, enable_tls: false}\n").key)

    def test_cache_sizes_follow_the_factors(self) -> None:
        caches = self.config("event_cache_size: 1K\ncaches: {global_factor: 2.0}\n").caches
        self.assertEqual(2048, caches.events)
