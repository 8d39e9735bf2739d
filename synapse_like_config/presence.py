"""Who is online."""

from synapse_like_config import options
from synapse_like_config.errors import WrongValue
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.values import Value

Enabled = bool | str
_DEFAULT: Enabled = True


def _parse_enabled(value: Value) -> Enabled:
    if isinstance(value.data, bool) or value.data == "untracked":
        return value.data
    raise WrongValue("must be true, false or untracked")


@dataclass(frozen=True)
class PresenceConfig:
    """`untracked` accepts updates and ignores them."""

    enabled: Enabled = options.custom(_DEFAULT, _parse_enabled)
    include_offline_users_on_sync: bool = options.boolean(False)

    @property
    def is_tracked(self) -> bool:
        return self.enabled is True
