"""From files to a ServerConfig. Several files merge in order: a top level option of a later one replaces."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from synapse_like_config.config import ServerConfig
from synapse_like_config.errors import ConfigError
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.reading import Reader, Source
from synapse_like_config.secret_files import MissingFile, SecretFiles
from synapse_like_config.support import NOT_YET_IN_EFFECT, REFUSED, UNSUPPORTED, WITHOUT_EFFECT
from synapse_like_config.values import Value, parse_yaml


@dataclass(frozen=True)
class LoadedConfig:
    """`missing_files` is not empty before a first start: write each, then load again."""

    config: ServerConfig
    warnings: tuple[str, ...]
    missing_files: tuple[MissingFile, ...]


def load_config(paths: Sequence[Path]) -> LoadedConfig:
    """Read and check everything. Raises ConfigError for the first thing that is wrong."""
    if not paths:
        raise ConfigError("command line", 0, "", "no configuration file was given")
    texts = []
    for path in paths:
        try:
            texts.append((str(path), path.read_text("utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(str(path), 0, "", f"cannot be read: {error}") from error
    return parse_config(texts, paths[0].parent)


def parse_config(texts: Sequence[tuple[str, str]], directory: Path) -> LoadedConfig:
    """As `load_config`, from (file name, text). `directory` is where the signing key is if no option says so."""
    warnings: list[str] = []
    values: dict[str, Value] = {}
    for file, text in texts:
        values.update(parse_yaml(text, file, warnings.append))
    source = Source(values, "", texts[-1][0], 0)
    for name, reason in REFUSED.items():
        if name in values:
            raise source.error(name, reason)
    reader = Reader()
    config = reader.read(ServerConfig, source)
    files = SecretFiles(directory, source.error)
    config = files.fill(config)
    _check_tls(config, source)
    warnings.extend(_unknown_warnings(reader))
    warnings.extend(_support_warnings(values))
    warnings.extend(_resource_warnings(config))
    return LoadedConfig(config, tuple(warnings), tuple(files.missing))


def _check_tls(config: ServerConfig, source: Source) -> None:
    if not any(listener.tls for listener in config.listeners):
        return
    for name in ("tls_certificate_path", "tls_private_key_path"):
        if getattr(config.tls, name) is None:
            raise source.error(name, "must be set, because a listener has `tls: true`")


def _unknown_warnings(reader: Reader) -> list[str]:
    warnings = []
    for key, value, near in reader.unknown_names():
        if key.startswith("popcube."):
            # No file of Synapse's has these, so it can only be a mistake.
            hint = f"; is {near} meant?" if near else ""
            raise ConfigError(value.file, value.line, key, f"there is no such option{hint}")
        if key in UNSUPPORTED:
            text = "this server does not have this option of Synapse; it is ignored"
        elif near:
            text = f"unknown option, ignored; is {near} meant?"
        else:
            text = "unknown option, ignored"
        warnings.append(_warning(key, value, text))
    return warnings


def _support_warnings(values: Mapping[str, Value]) -> list[str]:
    warnings = []
    for key, value in _two_levels(values):
        if key in NOT_YET_IN_EFFECT:
            warnings.append(_warning(key, value, "not yet in effect in this version"))
        elif key in WITHOUT_EFFECT:
            warnings.append(_warning(key, value, f"without effect: {WITHOUT_EFFECT[key]}"))
    return warnings


def _resource_warnings(config: ServerConfig) -> list[str]:
    warnings = []
    for listener in config.listeners:
        place = f"the listener on {listener.path or listener.port}"
        if listener.type == "manhole":
            warnings.append(
                f"listeners: {place} is a manhole, which this server does not have; it is ignored"
            )
        unserved = {"consent", "replication"} & listener.resource_names
        if unserved:
            names = " and ".join(sorted(unserved))
            warnings.append(f"listeners: {place} names {names}, which this server does not have; ignored")
    return warnings


def _two_levels(values: Mapping[str, Value]) -> list[tuple[str, Value]]:
    """Top level options, and those one level below."""
    pairs = list(values.items())
    for name, value in values.items():
        pairs.extend((f"{name}.{inner}", item) for inner, item in (value.mapping() or {}).items())
    return pairs


def _warning(key: str, value: Value, text: str) -> str:
    return f"{value.file}, line {value.line}: {key}: {text}"
