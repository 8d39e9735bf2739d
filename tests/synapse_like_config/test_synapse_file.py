"""A file as Synapse's own `generate` and its users write it."""

from pathlib import Path

from synapse_like_config.load import load_config
from tests.synapse_like_config.config_case import KEY, ConfigTestCase

SYNAPSE_FILE = """\
# A comment
server_name: "one.example"
pid_file: {directory}/homeserver.pid
public_baseurl: https://matrix.one.example
listeners:
  - bind_addresses:
      - ::1
      - 127.0.0.1
    port: 8008
    resources:
      - compress: false
        names:
          - client
          - federation
    tls: false
    type: http
    x_forwarded: true
database:
  name: psycopg2
  txn_limit: 10000
  args:
    user: synapse_user
    password: secretpassword
    database: synapse
    host: localhost
    cp_min: 5
    cp_max: 10
log_config: "{directory}/one.example.log.config"
media_store_path: {directory}/media_store
max_upload_size: 100M
registration_shared_secret: "a;b#c"
report_stats: false
macaroon_secret_key: "d^e"
form_secret: "f*g"
signing_key_path: "{directory}/one.example.signing.key"
trusted_key_servers:
  - server_name: "matrix.org"
experimental_features:
  msc3266_enabled: true
"""


class SynapseFileTests(ConfigTestCase):
    def test_it_starts_this_server_and_warnings_name_what_is_ignored(self) -> None:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        (directory / "one.example.signing.key").write_text(f"ed25519 a_test {KEY}\n")
        path = directory / "homeserver.yaml"
        path.write_text(SYNAPSE_FILE.format(directory=directory))
        loaded = load_config([path])
        config = loaded.config
        self.assertEqual("https://matrix.one.example/", config.server.client_base_url)
        self.assertEqual(("::1", "127.0.0.1"), config.listeners[0].addresses)
        self.assertEqual("synapse", config.database.connection_arguments["database"])
        self.assertEqual(100 * 1024 * 1024, config.media.max_upload_size_bytes)
        self.assertEqual("a;b#c", config.registration.registration_shared_secret)
        self.assertEqual("ed25519:a_test", config.keys.signing_keys[0].key_id)
        self.assertEqual((), loaded.missing_files)
        named = {warning.split(": ")[1] for warning in loaded.warnings}
        self.assertTrue(
            {"log_config", "report_stats", "experimental_features", "database.txn_limit"} <= named
        )
        self.assertFalse(named & {"server_name", "listeners", "database", "media_store_path", "form_secret"})
