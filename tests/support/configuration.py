"""Configuration files for servers under test: what an operator would write, with limits out of the way."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from nacl.signing import SigningKey
from unpaddedbase64 import encode_base64

from tests.support.postgres import PostgresArgs

SERVER_NAME = "one.example"
REGISTRATION_SECRET = "a registration secret of the tests"
NO_LIMIT = {"per_second": 100_000, "burst_count": 100_000}
NO_LIMITS: Mapping[str, Any] = {
    "rc_message": NO_LIMIT,
    "rc_registration": NO_LIMIT,
    "rc_registration_token_validity": NO_LIMIT,
    "rc_login": {"address": NO_LIMIT, "account": NO_LIMIT, "failed_attempts": NO_LIMIT},
    "rc_admin_redaction": NO_LIMIT,
    "rc_joins": {"local": NO_LIMIT, "remote": NO_LIMIT},
    "rc_joins_per_room": NO_LIMIT,
    "rc_invites": {"per_room": NO_LIMIT, "per_user": NO_LIMIT, "per_issuer": NO_LIMIT},
}
EVERY_FEATURE: Mapping[str, Any] = {
    # What is off unless the operator wants it, so that every endpoint can be called.
    "admin_contact": "mailto:admin@one.example",
    "serve_server_wellknown": True,
    "login_via_existing_session": {"enabled": True, "require_ui_auth": True},
    # The old paths of media answer only for what may be had without an account.
    "enable_authenticated_media": False,
    # The identity server of the tests is on loopback, and no authority has signed its certificate.
    "federation_verify_certificates": False,
    "ip_range_whitelist": ["127.0.0.1/32"],
    "turn_uris": ["turn:turn.one.example:3478"],
    "turn_shared_secret": "a secret of the tests",
}


@dataclass(frozen=True)
class SqliteFile:
    """The embedded database, in the directory of the server."""


Database = SqliteFile | PostgresArgs


def database_section(database: Database, directory: Path) -> dict[str, Any]:
    match database:
        case SqliteFile():
            return {"name": "sqlite3", "args": {"database": str(directory / "homeserver.db")}}
        case PostgresArgs():
            return {"name": "psycopg2", "args": database.as_connect_arguments()}


def write_configuration(
    directory: Path,
    database: Database,
    *,
    server_name: str = SERVER_NAME,
    overrides: Mapping[str, Any] | None = None,
) -> Path:
    """Write `homeserver.yaml` and a signing key into a directory, which is made. The port is a free one.

    Each key of `overrides` replaces the whole section of that name.
    """
    directory.mkdir(parents=True, exist_ok=True)
    signing_key = directory / "signing.key"
    if not signing_key.exists():
        seed = encode_base64(SigningKey.generate().encode())
        signing_key.write_text(f"ed25519 test {seed}\n", encoding="ascii")
    resources = [{"names": ["client", "federation", "metrics", "health"]}]
    listener = {
        "port": 0,
        "type": "http",
        "tls": False,
        "bind_addresses": ["127.0.0.1"],
        "resources": resources,
    }
    configuration = {
        "server_name": server_name,
        "listeners": [listener],
        "database": database_section(database, directory),
        "signing_key_path": str(signing_key),
        "media_store_path": str(directory / "media"),
        "macaroon_secret_key": "a macaroon secret of the tests",
        "form_secret": "a form secret of the tests",
        "registration_shared_secret": REGISTRATION_SECRET,
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "trusted_key_servers": [],
        **NO_LIMITS,
        **(overrides or {}),
    }
    path = directory / "homeserver.yaml"
    # By way of JSON, so that what is the same is written out each time, as an operator would, not as YAML's `*id`.
    plain = json.loads(json.dumps(configuration))
    path.write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")
    return path
