"""Log in with a password or a login token."""

from popcube_server.services.auth.check_password import CheckPassword
from popcube_server.services.auth.login_bans import address_key
from popcube_server.services.auth.login_tokens import LoginTokens
from popcube_server.services.auth.start_session import DeviceChoice, NewTokens, StartSession
from popcube_server.services.errors import NotAllowed
from popcube_server.services.rate_limits import RateLimiter
from storage.accounts import AccountsRepository
from storage.database import Database


class LogIn:
    """Decides who may log in, and starts the session."""

    def __init__(
        self,
        database: Database,
        check_password: CheckPassword,
        login_tokens: LoginTokens,
        start_session: StartSession,
        by_address: RateLimiter,
        by_account: RateLimiter,
    ) -> None:
        self._database = database
        self._check_password = check_password
        self._login_tokens = login_tokens
        self._start_session = start_session
        self._by_address = by_address
        self._by_account = by_account
        self._accounts = AccountsRepository()

    async def with_password(self, name: str, password: str, device: DeviceChoice, address: str) -> NewTokens:
        """`name` is a localpart or user ID. Raises `NotAllowed` without saying what is wrong."""
        self._by_address.spend(address_key(address))
        since = self._start_session.position
        account = await self._check_password.check(name, password, address)
        self._by_account.spend(account.user_id)
        return await self._start_session.start(account, since, device)

    async def with_token(self, token: str, device: DeviceChoice, address: str) -> NewTokens:
        """Raises `NotAllowed` if the token is unknown, used or expired."""
        self._by_address.spend(address_key(address))
        user_id = await self._login_tokens.take(token)
        since = self._start_session.position
        account = await self._database.ask(lambda tx: self._accounts.find(tx, user_id))
        if account is None or account.is_deactivated:
            raise NotAllowed("The login token cannot be used.")
        return await self._start_session.start(account, since, device)
