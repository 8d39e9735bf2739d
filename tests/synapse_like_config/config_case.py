"""What tests of the configuration share."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from synapse_like_config.config import ServerConfig
from synapse_like_config.errors import ConfigError
from synapse_like_config.load import LoadedConfig, parse_config

# 32 bytes of a key that signs nothing anywhere.
KEY = "ASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4mrze8"
BASE = f"server_name: one.example\nsigning_key: ed25519 a_test {KEY}\n"


class ConfigTestCase(SynchronousTestCase):
    """Texts stand below two lines that name the server and its key: the first line of a text is line 3."""

    def loaded(self, text: str = "") -> LoadedConfig:
        return parse_config([("homeserver.yaml", BASE + text)], Path("/nonexistent"))

    def config(self, text: str = "") -> ServerConfig:
        return self.loaded(text).config

    def error(self, text: str) -> ConfigError:
        return self.assertRaises(ConfigError, self.loaded, text)
