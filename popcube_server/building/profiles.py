"""Builds profiles."""

from collections.abc import Sequence

from popcube_server.building.core import Core
from popcube_server.rest.client.profile import Profile
from popcube_server.services.profiles.change_profile import ChangeProfile
from popcube_server.services.profiles.read_profile import ReadProfile, RemoteProfiles


def build_profiles(core: Core, remote: RemoteProfiles) -> Sequence[object]:
    """The servlets."""
    return [
        Profile(
            ReadProfile(core.server_name, core.config.profiles, core.database, remote),
            ChangeProfile(core.committer, frozenset(frozen_profile_fields(core))),
        )
    ]


def frozen_profile_fields(core: Core) -> tuple[str, ...]:
    """The fields that the configuration forbids to change."""
    registration = core.config.registration
    settings = {
        "displayname": registration.enable_set_displayname,
        "avatar_url": registration.enable_set_avatar_url,
    }
    return tuple(field for field, is_free in settings.items() if not is_free)
