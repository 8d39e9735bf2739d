"""Secrets that stand in files of their own, and the files that a first start has to make."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from synapse_like_config.config import ServerConfig
from synapse_like_config.errors import ConfigError, WrongValue
from synapse_like_config.generate import render_signing_key
from synapse_like_config.keys import SigningKey, parse_signing_keys
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True)
class MissingFile:
    """A file that the server makes on its first start: `kind` is `signing_key` or `secret`."""

    key: str
    path: Path
    kind: str


class SecretFiles:
    """Reads the files that a configuration names. `find_error` makes the error for an option."""

    def __init__(self, default_directory: Path, error: Callable[[str, str], ConfigError]) -> None:
        self._default_directory = default_directory
        self._error = error
        self.missing: list[MissingFile] = []

    def fill(self, config: ServerConfig) -> ServerConfig:
        """The configuration with every secret in it. Raises ConfigError; notes files that do not exist yet."""
        keys = replace(config.keys, signing_keys=self._signing_keys(config))
        registration = replace(
            config.registration,
            registration_shared_secret=self._secret(
                "registration_shared_secret",
                config.registration.registration_shared_secret,
                config.registration.registration_shared_secret_path,
                made_by_server=True,
            ),
        )
        turn = replace(
            config.turn,
            turn_shared_secret=self._secret(
                "turn_shared_secret", config.turn.turn_shared_secret, config.turn.turn_shared_secret_path
            ),
        )
        given = config.secrets
        macaroon_secret = self._secret(
            "macaroon_secret_key", given.macaroon_secret_key, given.macaroon_secret_key_path
        )
        if macaroon_secret is None:
            macaroon_secret = registration.registration_shared_secret or _derived_secret(keys.signing_keys)
        secrets = replace(
            given,
            macaroon_secret_key=macaroon_secret,
            form_secret=self._secret("form_secret", given.form_secret, given.form_secret_path),
        )
        return replace(config, keys=keys, registration=registration, turn=turn, secrets=secrets)

    def _signing_keys(self, config: ServerConfig) -> tuple[SigningKey, ...]:
        if config.keys.signing_key is not None:
            return self._parse_keys("signing_key", config.keys.signing_key)
        path = config.keys.signing_key_path
        if path is None:
            path = self._default_directory / f"{config.server.server_name}.signing.key"
        text = self._read("signing_key_path", path)
        if text is None:
            self.missing.append(MissingFile("signing_key_path", path, "signing_key"))
            return ()
        return self._parse_keys("signing_key_path", text)

    def _parse_keys(self, key: str, text: str) -> tuple[SigningKey, ...]:
        try:
            return parse_signing_keys(text)
        except WrongValue as wrong:
            raise self._error(key, wrong.message) from None

    def _secret(
        self, name: str, given: str | None, path: Path | None, *, made_by_server: bool = False
    ) -> str | None:
        if path is None:
            return given
        path_key = f"{name}_path"
        if given is not None:
            raise self._error(path_key, f"cannot be set together with {name}")
        text = self._read(path_key, path)
        if text is None:
            if not made_by_server:
                raise self._error(path_key, f"there is no file {path}")
            self.missing.append(MissingFile(path_key, path, "secret"))
            return None
        if not text.strip():
            raise self._error(path_key, f"the file {path} is empty")
        return text.strip()

    def _read(self, key: str, path: Path) -> str | None:
        try:
            return path.read_text("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise self._error(key, f"cannot read {path}: {error}") from error


def write_missing_file(missing: MissingFile, random_bytes: Callable[[int], bytes]) -> None:
    """Make the file, readable by its owner only. Raises OSError, also when it exists by now."""
    if missing.kind == "signing_key":
        text = render_signing_key(random_bytes(32), random_bytes(3))
    else:
        text = random_bytes(32).hex() + "\n"
    write_private_file(missing.path, text)


def write_private_file(path: Path, text: str) -> None:
    """Write a new file that only its owner may read. Raises OSError, also when it exists."""
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(text, "utf-8")


def _derived_secret(signing_keys: tuple[SigningKey, ...]) -> str | None:
    if not signing_keys:
        return None
    return hashlib.sha256(b"popcube macaroon secret:" + signing_keys[0].seed).hexdigest()
