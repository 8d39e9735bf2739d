"""Whether somebody knows an account's password, for logins and confirmations alike."""

from popcube_server.services.accounts.user_names import possible_user_ids
from popcube_server.services.auth.login_bans import LoginBans, SeenFailures
from popcube_server.services.auth.passwords import Passwords
from popcube_server.services.errors import NotAllowed
from popcube_server.services.rate_limits import RateLimiter
from storage.accounts import AccountRow, AccountsRepository, SetPasswordHash
from storage.committer import Committer
from storage.database import Database, Transaction


class CheckPassword:
    """Checks passwords, and makes guessing them slow."""

    def __init__(
        self,
        server_name: str,
        database: Database,
        committer: Committer,
        passwords: Passwords,
        bans: LoginBans,
        failed_attempts: RateLimiter,
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._committer = committer
        self._passwords = passwords
        self._bans = bans
        self._failed_attempts = failed_attempts
        self._accounts = AccountsRepository()

    async def check(self, name: str, password: str, address: str) -> AccountRow:
        """The account, if the password is right. Raises `NotAllowed` without saying what is wrong.

        `name` is a localpart or a user ID; `address` the client's.
        """
        candidates = possible_user_ids(name, self._server_name)
        key = candidates[-1] if candidates else ""
        changes = self._bans.changes
        account, is_counted = await self._database.read(lambda tx: self._read(tx, candidates, address, key))
        # Spent before the slow part and given back after a success: a guess sent many times at once is many guesses.
        self._failed_attempts.spend(key)
        password_hash = None if account is None or account.is_deactivated else account.password_hash
        if not await self._passwords.is_right(password, password_hash) or account is None:
            await self._bans.record_failure(address, key)
            # The same for a wrong password, a wrong name and a deactivated account.
            raise NotAllowed("The user name or the password is wrong.")
        await self._bans.forget_failures(address, key, SeenFailures(changes, is_counted))
        self._failed_attempts.give_back(key)
        await self._renew_hash(account, password)
        return account

    def _read(
        self, tx: Transaction, candidates: tuple[str, ...], address: str, key: str
    ) -> tuple[AccountRow | None, bool]:
        """The account, and whether failures are counted."""
        is_counted = self._bans.check(tx, address, key)
        found = (self._accounts.find(tx, user_id) for user_id in candidates)
        return next((account for account in found if account is not None), None), is_counted

    async def _renew_hash(self, account: AccountRow, password: str) -> None:
        if account.password_hash is not None and self._passwords.is_outdated(account.password_hash):
            new_hash = await self._passwords.hash(password)
            await self._committer.commit(SetPasswordHash(account.user_id, new_hash))
