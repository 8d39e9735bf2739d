"""What users of other servers are called in rooms: their member events are all that is known of their profiles."""

from collections.abc import Iterator, Sequence

import orjson

from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MemberName:
    display_name: str | None
    avatar_url: str | None


def read_names(events: Sequence[bytes]) -> Iterator[MemberName]:
    """Of member events as JSON, in their order. What is not as it must be is left out: servers do not check it."""
    for json in events:
        content = orjson.loads(json).get("content", {})
        name, avatar_url = content.get("displayname"), content.get("avatar_url")
        is_sound = isinstance(avatar_url, str) and avatar_url.startswith("mxc://")
        yield MemberName(name if isinstance(name, str) else None, avatar_url if is_sound else None)
