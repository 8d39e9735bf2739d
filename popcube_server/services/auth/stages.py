"""The stages of user-interactive authentication that this server has."""

from collections.abc import Mapping
from typing import Any

from popcube_server.services.auth.check_password import CheckPassword
from popcube_server.services.auth.interactive_auth import Attempt, StageFailed
from popcube_server.services.auth.registration_tokens import RegistrationTokens
from popcube_server.services.errors import NotAllowed

DUMMY = "m.login.dummy"
PASSWORD = "m.login.password"  # noqa: S105
REGISTRATION_TOKEN = "m.login.registration_token"  # noqa: S105


class DummyStage:
    """Always passed."""

    type = DUMMY

    async def attempt(self, attempt: Attempt) -> None:
        return


class PasswordStage:
    """The password of the user who asks; of anybody, where a request without a token may prove whose it is."""

    type = PASSWORD

    def __init__(self, check_password: CheckPassword) -> None:
        self._check_password = check_password

    async def attempt(self, attempt: Attempt) -> None:
        password = attempt.auth.get("password")
        if not isinstance(password, str):
            raise StageFailed("M_MISSING_PARAM", "'password' is missing.")
        owner = attempt.session.operation.user_id
        try:
            account = await self._check_password.check(
                _named_user(attempt.auth, owner), password, attempt.address
            )
        except NotAllowed as error:
            raise StageFailed("M_FORBIDDEN", error.message) from error
        # Somebody else's password proves nothing.
        if owner and account.user_id != owner:
            raise StageFailed("M_FORBIDDEN", "The user name or the password is wrong.")
        attempt.session.proved_user_id = account.user_id


def _named_user(auth: Mapping[str, Any], owner: str) -> str:
    identifier = auth.get("identifier")
    if identifier is None:
        # COMPAT: `user` is from before r0.4 of the specification; without any name, it can only be the owner.
        named = auth.get("user", owner or None)
    elif isinstance(identifier, dict) and identifier.get("type") == "m.id.user":
        named = identifier.get("user")
    else:
        raise StageFailed("M_FORBIDDEN", "Only identifiers of type m.id.user are known here.")
    if not isinstance(named, str):
        raise StageFailed("M_BAD_JSON", "The user name must be a string.")
    return named


class RegistrationTokenStage:
    """A token from an administrator, one use of which is kept for this session."""

    type = REGISTRATION_TOKEN

    def __init__(self, tokens: RegistrationTokens) -> None:
        self._tokens = tokens

    async def attempt(self, attempt: Attempt) -> None:
        token = attempt.auth.get("token")
        if not isinstance(token, str):
            raise StageFailed("M_MISSING_PARAM", "'token' is missing.")
        session = attempt.session
        if not await self._tokens.reserve(token, session.session_id, session.expires_ms):
            raise StageFailed("M_UNAUTHORIZED", "This registration token cannot be used.")
        session.registration_token = token
