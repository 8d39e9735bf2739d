"""Room aliases and the directory of public rooms."""

import fnmatch

from synapse_like_config import options
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True)
class DirectoryRule:
    """Allows or denies an alias or a listing. The patterns are globs over whole identifiers."""

    user_id: str = options.string("*")
    alias: str = options.string("*")
    room_id: str = options.string("*")
    action: str = options.choice("allow", ("allow", "deny"))

    def has_match(self, user_id: str, room_id: str, aliases: tuple[str, ...]) -> bool:
        """Whether the rule speaks of this case. Without aliases, only `*` matches the alias."""
        by_alias = self.alias == "*" or any(fnmatch.fnmatchcase(alias, self.alias) for alias in aliases)
        return (
            by_alias
            and fnmatch.fnmatchcase(user_id, self.user_id)
            and fnmatch.fnmatchcase(room_id, self.room_id)
        )


@dataclass(frozen=True)
class DirectorySection:
    """Rules are tried in order and the first match decides; no match denies; None (no rules given) allows all."""

    alias_creation_rules: tuple[DirectoryRule, ...] | None = options.optional_sections(DirectoryRule)
    room_list_publication_rules: tuple[DirectoryRule, ...] | None = options.optional_sections(DirectoryRule)
    require_membership_for_aliases: bool = options.boolean(True)
    enable_room_list_search: bool = options.boolean(True)
    allow_public_rooms_without_auth: bool = options.boolean(False)
    allow_public_rooms_over_federation: bool = options.boolean(False)
