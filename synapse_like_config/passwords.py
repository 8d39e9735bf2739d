"""Passwords: whether they are a way in, and what a good one is."""

from synapse_like_config import options
from synapse_like_config.errors import WrongValue
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.values import Value

ONLY_FOR_REAUTH = "only_for_reauth"
Enabled = bool | str
_DEFAULT: Enabled = True


def _parse_enabled(value: Value) -> Enabled:
    if isinstance(value.data, bool) or value.data == ONLY_FOR_REAUTH:
        return value.data
    raise WrongValue(f"must be true, false or {ONLY_FOR_REAUTH}")


@dataclass(frozen=True)
class PasswordPolicy:
    """What a new password must have; nothing unless `enabled`."""

    enabled: bool = options.boolean(False)
    minimum_length: int = options.integer(0, 0, 512)
    require_digit: bool = options.boolean(False)
    require_symbol: bool = options.boolean(False)
    require_lowercase: bool = options.boolean(False)
    require_uppercase: bool = options.boolean(False)


@dataclass(frozen=True)
class PasswordConfig:
    """`enabled` is a boolean or `only_for_reauth`; ask the two properties."""

    enabled: Enabled = options.custom(_DEFAULT, _parse_enabled)
    localdb_enabled: bool = options.boolean(True)
    pepper: str | None = options.optional_secret()
    policy: PasswordPolicy = options.nested(PasswordPolicy())

    @property
    def is_login_enabled(self) -> bool:
        """Whether `m.login.password` is offered for logging in."""
        return self.enabled is True and self.localdb_enabled

    @property
    def is_reauth_enabled(self) -> bool:
        """Whether a password confirms a dangerous action."""
        return self.enabled is not False and self.localdb_enabled


@dataclass(frozen=True)
class PasswordsSection:
    """`bcrypt_rounds` is Synapse's; our hashes are argon2id, see `popcube.argon2`."""

    password_config: PasswordConfig = options.nested(PasswordConfig())
    bcrypt_rounds: int = options.integer(12, 4, 31)
