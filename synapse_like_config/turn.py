"""The TURN server that clients use for calls."""

from pathlib import Path

from synapse_like_config import options
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True)
class TurnSection:
    """Either a shared secret, from which credentials are made, or one name and password for everybody."""

    turn_uris: tuple[str, ...] = options.string_or_strings()
    turn_shared_secret: str | None = options.optional_secret()
    turn_shared_secret_path: Path | None = options.optional_path()
    turn_username: str | None = options.optional_string()
    turn_password: str | None = options.optional_secret()
    turn_user_lifetime_ms: int = options.duration_ms("1h", 1000)
    turn_allow_guests: bool = options.boolean(True)
