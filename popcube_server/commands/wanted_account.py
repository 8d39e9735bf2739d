"""What `register-user` was asked for."""

from popcube_server.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WantedAccount:
    name: str
    password: str
    display_name: str | None
    is_admin: bool
