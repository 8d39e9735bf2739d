"""Registration as the public meets it: who may, after which stages, and then the account and its first session."""

from collections.abc import Mapping
from typing import Any

from popcube_server.services.accounts.register_account import NewAccount, RegisterAccount
from popcube_server.services.auth.interactive_auth import Confirmed, InteractiveAuth
from popcube_server.services.auth.interactive_session import Flow, Operation
from popcube_server.services.auth.login_bans import address_key
from popcube_server.services.auth.password_policy import check_password
from popcube_server.services.auth.stages import DUMMY, REGISTRATION_TOKEN
from popcube_server.services.auth.start_session import (
    DeviceChoice,
    NewTokens,
    SessionOwner,
    StartSession,
    check_device,
)
from popcube_server.services.errors import AuthenticationNeeded, MissingParam, NotAllowed, WithCode
from popcube_server.services.rate_limits import RateLimiter
from storage.change import Change
from storage.registration_tokens import TokenUsedUp, UseRegistrationToken
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.passwords import PasswordPolicy
from synapse_like_config.registration import RegistrationSection


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants to register. None: the client did not say."""

    name: str | None
    password: str | None
    device: DeviceChoice
    inhibit_login: bool
    auth: Mapping[str, Any] | None
    parameters: Mapping[str, Any]
    """The request without `auth`."""


class SignUp:
    """Registers people and guests, as far as the configuration lets them."""

    def __init__(
        self,
        section: RegistrationSection,
        policy: PasswordPolicy,
        interactive_auth: InteractiveAuth,
        register_account: RegisterAccount,
        start_session: StartSession,
        by_address: RateLimiter,
    ) -> None:
        self._section = section
        self._policy = policy
        self._interactive_auth = interactive_auth
        self._register_account = register_account
        self._start_session = start_session
        self._by_address = by_address

    def check_enabled(self) -> None:
        if not self._section.enable_registration:
            raise NotAllowed("Registration is closed on this server.")

    async def check_name(self, name: str) -> None:
        """Raises if `name` is impossible or reserved, or if it is taken and strangers may know that."""
        self.check_enabled()
        self._register_account.check_possible(name)
        await self._check_free(name)

    async def register(self, wanted: Wanted, endpoint: str, address: str) -> tuple[str, NewTokens | None]:
        """The new user's ID, and tokens unless the client wants none."""
        self.check_enabled()
        # What cannot work is refused before anybody is led through stages.
        if wanted.password is not None:
            check_password(self._policy, wanted.password)
        check_device(wanted.device)
        # Whether it is still to be had is seen when the account is made.
        user_id = self._user_id(wanted.name)
        counted = address_key(address)
        self._by_address.check(counted)
        confirmed = await self._confirm(
            Operation(endpoint, "", wanted.name or "", wanted.parameters), wanted, address
        )
        if wanted.password is None:
            raise MissingParam("'password' is missing.")
        self._by_address.spend(counted)
        also: list[Change] = []
        if confirmed.registration_token is not None:
            also.append(UseRegistrationToken(confirmed.registration_token, confirmed.session_id))
        # Account and session in one commit: there is no half of a registration.
        owner = SessionOwner(user_id, self._start_session.position)
        session = self._start_session.prepare(owner, wanted.device)
        if not wanted.inhibit_login:
            also.extend(session.changes)
        try:
            await self._register_account.register(NewAccount(user_id, wanted.password), *also)
        except TokenUsedUp as error:
            raise NotAllowed("The registration token cannot be used any more.") from error
        except WithCode:
            # The name is taken: but for two who came at once, no password was hashed. Where names are not told, these
            # answers tell them, and are counted.
            if not self._section.inhibit_user_in_use_error:
                self._by_address.give_back(counted)
            raise
        if wanted.inhibit_login:
            return user_id, None
        self._start_session.began(session)
        return user_id, session.tokens

    async def register_guest(self, device: DeviceChoice, address: str) -> NewTokens:
        """Guests have a random name and no password: they are gone once they log out."""
        if not self._section.allow_guest_access:
            raise NotAllowed("Guests are not allowed on this server.")
        self._by_address.spend(address_key(address))
        user_id = self._register_account.random_user_id()
        # A guest's device ID is always the server's choice.
        owner = SessionOwner(user_id, self._start_session.position, is_guest=True)
        session = self._start_session.prepare(owner, DeviceChoice(None, device.display_name, False))
        await self._register_account.register(NewAccount(user_id, None, is_guest=True), *session.changes)
        self._start_session.began(session)
        return session.tokens

    async def _confirm(self, operation: Operation, wanted: Wanted, address: str) -> Confirmed:
        # "Homeservers MUST perform the relevant checks and return these codes before performing User-Interactive
        # Authentication."
        if self._section.registration_requires_token:
            await self._check_free(wanted.name)
        try:
            return await self._interactive_auth.confirm(operation, self._flows(), wanted.auth, address)
        except AuthenticationNeeded:
            # Where no token is asked for, nothing is proved: whoever sends the stage with the first request hears of
            # the name when the account is made, a moment later.
            await self._check_free(wanted.name)
            raise

    def _flows(self) -> tuple[Flow, ...]:
        return ((REGISTRATION_TOKEN,),) if self._section.registration_requires_token else ((DUMMY,),)

    async def _check_free(self, name: str | None) -> None:
        if name is not None and not self._section.inhibit_user_in_use_error:
            await self._register_account.check_available(name)

    def _user_id(self, name: str | None) -> str:
        if name is None:
            return self._register_account.random_user_id()
        return self._register_account.check_possible(name)
