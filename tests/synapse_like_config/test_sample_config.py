"""sample_config.yaml against the options that there are."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from synapse_like_config.config import ServerConfig
from synapse_like_config.load import LoadedConfig, load_config, parse_config
from synapse_like_config.options import METADATA_KEY, NestedSection, SectionList, option_name
from synapse_like_config.support import NOT_YET_IN_EFFECT, UNSUPPORTED, WITHOUT_EFFECT

SAMPLE = Path(__file__).resolve().parent.parent.parent / "sample_config.yaml"
# An option, or a line of one: `#` with no space, or with more than one.
OPTION_LINE = re.compile(r"#(?=[a-z]|\s\s+\S)", re.ASCII)
# Where every value means something, and what stands in the sample is an example.
EXAMPLES_DIFFER = (
    "server.",
    "keys.",
    "secrets.",
    "tls.",
    "database",
    "email",
    "turn.",
    "listeners",
    "oidc.",
    "sites",
)


def uncommented() -> str:
    return "\n".join(OPTION_LINE.sub("", line, count=1) for line in SAMPLE.read_text("utf-8").splitlines())


def options_of(section: type[Any], path: str = "") -> Iterator[str]:
    """Every key that the configuration knows, lists and nested sections with dots."""
    for item in dataclasses.fields(section):
        how = item.metadata.get(METADATA_KEY)
        if how is None:
            continue
        if isinstance(how, NestedSection) and how.inline:
            yield from options_of(how.section, path)
            continue
        name = path + (item.name if isinstance(how, NestedSection) else option_name(item.name, how.name))
        yield name
        if isinstance(how, NestedSection | SectionList):
            yield from options_of(how.section, f"{name}.")


def keys_of(data: object, path: str = "") -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield f"{path}{key}"
            yield from keys_of(value, f"{path}{key}.")
    elif isinstance(data, list):
        for value in data:
            yield from keys_of(value, path)


class SampleConfigTests(SynchronousTestCase):
    def test_it_loads_as_it_is_and_says_the_defaults(self) -> None:
        loaded = load_config([SAMPLE])
        self.assertEqual("example.org", loaded.config.server.server_name)
        self.assertEqual((), loaded.warnings)

    def test_it_loads_with_every_option_uncommented(self) -> None:
        loaded = self.loaded_uncommented()
        unknown = [
            warning for warning in loaded.warnings if "unknown" in warning or "does not have" in warning
        ]
        self.assertEqual([], unknown)

    def test_every_option_stands_in_it(self) -> None:
        present = set(keys_of(yaml.safe_load(uncommented())))
        self.assertEqual([], [name for name in options_of(ServerConfig) if name not in present])

    def test_values_given_as_defaults_are_the_defaults(self) -> None:
        default = load_config([SAMPLE]).config
        written = self.loaded_uncommented().config
        # Options that have no default stand there with an example.
        examples = {
            "rooms.default_power_level_content_override",
            "rooms.room_prejoin_state.additional_event_types",
            "rooms.limit_remote_rooms.complexity_error",
            "registration.allowed_local_3pids",
            "registration.registration_shared_secret",
            "auto_join.auto_join_rooms",
            "directory.alias_creation_rules",
            "directory.room_list_publication_rules",
            "auto_join.auto_join_mxid_localpart",
            "passwords.password_config.pepper",
            "media.media_storage_providers",
            "media.media_upload_limits",
            "url_previews.url_preview_ip_range_blacklist",
            "url_previews.url_preview_url_blacklist",
            "rate_limits.rc_admin_redaction",
            "observability.log_config",
        }
        differing = {name for name in differences(default, written) if not name.startswith(EXAMPLES_DIFFER)}
        self.assertEqual(examples, differing)

    def test_the_lists_of_support_name_options_that_exist(self) -> None:
        known = set(options_of(ServerConfig))
        self.assertEqual([], sorted(NOT_YET_IN_EFFECT - known))
        self.assertEqual([], sorted(WITHOUT_EFFECT.keys() - known))
        # An option that is read cannot be among those that this server does not have.
        self.assertEqual([], sorted(UNSUPPORTED & known))

    def loaded_uncommented(self) -> LoadedConfig:
        return parse_config([("sample_config.yaml", uncommented())], Path("/nonexistent"))


def differences(one: object, other: object, path: str = "") -> Iterator[str]:
    if dataclasses.is_dataclass(one) and type(one) is type(other):
        for item in dataclasses.fields(one):
            name = f"{path}.{item.name}" if path else item.name
            yield from differences(getattr(one, item.name), getattr(other, item.name), name)
    elif one != other:
        yield path
