"""What `register-user` was asked for."""

from lazy_dataclasses.decorator import dataclass


@dataclass(frozen=True, slots=True)
class WantedAccount:
    name: str
    password: str
    display_name: str | None
    is_admin: bool
