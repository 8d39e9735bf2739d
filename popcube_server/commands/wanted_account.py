"""What `register-user` was asked for."""

from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WantedAccount:
    name: str
    password: str
    display_name: str | None
    is_admin: bool
