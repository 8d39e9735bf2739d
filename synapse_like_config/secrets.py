"""Secrets of the server that belong to no other section."""

from pathlib import Path

from synapse_like_config import options
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True)
class SecretsSection:
    """After loading, `macaroon_secret_key` is always set, unless the signing key is still to be made.

    As in Synapse, what the file leaves out is taken from the registration secret or derived from the signing key.
    """

    macaroon_secret_key: str | None = options.optional_secret()
    macaroon_secret_key_path: Path | None = options.optional_path()
    form_secret: str | None = options.optional_secret()
    form_secret_path: Path | None = options.optional_path()
