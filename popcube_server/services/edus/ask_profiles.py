"""Profiles of other servers' users. Source: server-server API, "Querying for information"."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

import orjson

from federation.room_dag.identifiers import domain_of
from federation.transport.errors import FederationError, HttpRefusal, InvalidAnswer, Unreachable
from popcube_server.services.errors import NotFound, WithCode
from popcube_server.services.profiles.profile_fields import MAX_KEY_BYTES
from popcube_server.services.remote_queries.question_limits import Question
from popcube_server.services.remote_queries.remembered_answers import RememberedAnswers

MAX_PROFILE_BYTES: Final = 64 * 1024
_TEXTS: Final = ("displayname", "avatar_url", "m.tz")

Profile = Mapping[str, bytes]
"""Each field's value as JSON."""


class AskProfile(Protocol):
    async def profile(self, user_id: str) -> Mapping[str, Any]:
        """Raises `FederationError`."""


class AskProfiles:
    """`requester` is who wants to know: a user ID."""

    def __init__(self, servers: AskProfile, answers: RememberedAnswers[str, Profile]) -> None:
        self._servers = servers
        self._answers = answers

    async def get(self, requester: str, user_id: str) -> Profile:
        """Every field.

        Raises `NotFound`, `LimitExceeded`; M_UNKNOWN with 504 if the server does not answer, with 502 if it makes no
        sense.
        """
        question = Question(requester, domain_of(user_id))
        try:
            return await self._answers.get(question, user_id, lambda: self._ask(user_id))
        except HttpRefusal as error:
            if error.status in (403, 404):
                raise NotFound("There is no such user, or the profile is not shown.") from None
            raise _failure(502, user_id) from None
        except Unreachable:
            raise _failure(504, user_id) from None
        except FederationError:
            raise _failure(502, user_id) from None

    async def _ask(self, user_id: str) -> Profile:
        answer = await self._servers.profile(user_id)
        sound = {name: _encode(value) for name, value in answer.items() if _is_sound(name, value)}
        fields = {name: value for name, value in sound.items() if value is not None}
        # "The total size of the user's profile ... is limited to 64 KiB", whoever keeps it.
        if weigh_profile(fields) > MAX_PROFILE_BYTES:
            raise InvalidAnswer(domain_of(user_id), "the profile is too large")
        return fields


def weigh_profile(profile: Profile) -> int:
    return sum(len(name.encode()) + len(value) for name, value in profile.items())


def _is_sound(name: str, value: Any) -> bool:
    if len(name.encode()) > MAX_KEY_BYTES:
        return False
    # "MUST either be omitted or set to `null` if the user does not have a display name set."
    if name not in _TEXTS:
        return value is not None
    return isinstance(value, str) and (name != "avatar_url" or value.startswith("mxc://"))


def _encode(value: Any) -> bytes | None:
    """None for what our clients cannot be told: integers beyond 64 bits, nesting without an end."""
    try:
        # Within a list, as it will be within an answer: one level more must not be too deep.
        return orjson.dumps([value])[1:-1]
    except orjson.JSONEncodeError:
        return None


def _failure(status: int, user_id: str) -> WithCode:
    return WithCode(status, "M_UNKNOWN", f"{domain_of(user_id)} could not be asked for the profile.")
