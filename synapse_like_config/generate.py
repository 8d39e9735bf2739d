"""The files of a new server: its configuration and its signing key. Randomness is an argument."""

import base64
from collections.abc import Callable
from pathlib import Path

_TEMPLATE = """\
# Configuration of a PopCube server. The options have the names that they have in Synapse;
# sample_config.yaml in the source lists all of them with their defaults.

# The name at the end of every user ID. It cannot be changed later.
server_name: {server_name}

listeners:
  # Clients and other servers, and /metrics for a Prometheus on this machine. Put a reverse proxy with TLS in
  # front before opening this to others, let it pass /_matrix and /.well-known only, and set `public_baseurl` to
  # the address that people use.
  - port: {port}
    type: http
    tls: false
    x_forwarded: true
    bind_addresses: ["127.0.0.1"]
    resources:
      - names: [client, federation, metrics]

database:
  name: sqlite3
  args:
    database: {database}

media_store_path: {media}
signing_key_path: {signing_key}
{registration}
# Secrets. Who has them can act as anybody: keep this file private.
registration_shared_secret: "{registration_secret}"
macaroon_secret_key: "{macaroon_secret}"
form_secret: "{form_secret}"
"""

_OPEN_REGISTRATION = """
# Anybody who reaches the server can make an account. Good for trying things out; turn it off, or set
# `registration_requires_token: true`, before the server can be reached from outside.
enable_registration: true
enable_registration_without_verification: true
"""

_CLOSED_REGISTRATION = """
# Accounts are made with `popcube-server register-user`, or by people who have a registration token when this
# is true.
enable_registration: false
registration_requires_token: true
"""


def render_config(
    server_name: str,
    data_directory: Path,
    *,
    open_registration: bool,
    random_bytes: Callable[[int], bytes],
    port: int = 8008,
) -> str:
    """The text of a configuration whose files are all in `data_directory`. Secrets have 256 bits."""
    return _TEMPLATE.format(
        server_name=_quoted(server_name),
        port=port,
        database=_quoted(str(data_directory / "homeserver.db")),
        media=_quoted(str(data_directory / "media_store")),
        signing_key=_quoted(str(signing_key_path(server_name, data_directory))),
        registration=_OPEN_REGISTRATION if open_registration else _CLOSED_REGISTRATION,
        registration_secret=random_bytes(32).hex(),
        macaroon_secret=random_bytes(32).hex(),
        form_secret=random_bytes(32).hex(),
    )


def signing_key_path(server_name: str, data_directory: Path) -> Path:
    """Where `render_config` says that the signing key is."""
    # A name with a port has a colon, an IPv6 address brackets: neither is nice in a file name.
    safe = "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in server_name)
    return data_directory / f"{safe}.signing.key"


def render_signing_key(seed: bytes, version_seed: bytes) -> str:
    """One line in Synapse's format. `seed` is the 32 bytes of the key, `version_seed` names it."""
    if len(seed) != 32:
        raise ValueError("an ed25519 seed has 32 bytes")
    # base32: a key's version may only have letters, digits and underscores.
    version = "a_" + base64.b32encode(version_seed).decode("ascii").rstrip("=").lower()
    return f"ed25519 {version} {base64.b64encode(seed).decode('ascii').rstrip('=')}\n"


def _quoted(text: str) -> str:
    """A YAML string that holds whatever a path may hold."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
