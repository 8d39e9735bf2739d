"""The certificate of the listeners that have TLS."""

from pathlib import Path

from synapse_like_config import options
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True)
class TlsSection:
    """PEM files: the certificate with its whole chain, and its private key."""

    tls_certificate_path: Path | None = options.optional_path()
    tls_private_key_path: Path | None = options.optional_path()
