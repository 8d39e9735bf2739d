"""Who sees whose profile, and the directory of users."""

from synapse_like_config import options
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True)
class UserDirectoryConfig:
    """The search for users."""

    enabled: bool = options.boolean(True)
    search_all_users: bool = options.boolean(False)
    prefer_local_users: bool = options.boolean(False)
    show_locked_users: bool = options.boolean(False)


@dataclass(frozen=True)
class ProfilesSection:
    """`limit_profile_requests_to_users_who_share_rooms` implies that a token is needed."""

    require_auth_for_profile_requests: bool = options.boolean(False)
    limit_profile_requests_to_users_who_share_rooms: bool = options.boolean(False)
    include_profile_data_on_invite: bool = options.boolean(True)
    allow_per_room_profiles: bool = options.boolean(True)
    allow_profile_lookup_over_federation: bool = options.boolean(True)
    allow_device_name_lookup_over_federation: bool = options.boolean(False)
    user_directory: UserDirectoryConfig = options.nested(UserDirectoryConfig())
