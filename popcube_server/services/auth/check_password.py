"""Whether somebody knows an account's password, for logins and confirmations alike."""

from collections.abc import Sequence

from popcube_server.services.accounts.user_names import possible_user_ids
from popcube_server.services.auth.login_bans import LoginBans, SeenFailures, address_key
from popcube_server.services.auth.passwords import Passwords
from popcube_server.services.errors import LimitExceeded, NotAllowed
from popcube_server.services.platform import Platform
from popcube_server.services.rate_limits import RateLimiter
from storage.accounts import AccountRow, SetPasswordHash
from storage.committer import Committer
from storage.database import Database
from storage.engines.engine import StorageError
from storage.login_attempts import LoginAttempt, LoginAttemptsRepository


class CheckPassword:
    """Checks passwords, and makes guessing them slow."""

    def __init__(
        self,
        server_name: str,
        platform: Platform,
        database: Database,
        committer: Committer,
        passwords: Passwords,
        bans: LoginBans,
        failed_attempts: RateLimiter,
    ) -> None:
        self._server_name = server_name
        self._platform = platform
        self._database = database
        self._committer = committer
        self._passwords = passwords
        self._bans = bans
        self._failed_attempts = failed_attempts
        self._attempts = LoginAttemptsRepository()

    async def check(self, name: str, password: str, address: str) -> AccountRow:
        """The account, if the password is right. Raises `NotAllowed` without saying what is wrong.

        `name` is a localpart or a user ID; `address` the client's.
        """
        candidates = possible_user_ids(name, self._server_name)
        key = candidates[-1] if candidates else ""
        counted = address_key(address)
        # Whoever goes on guessing neither takes the threads from others nor uses up what an account is allowed.
        self._bans.check_remembered(counted)
        changes = self._bans.changes
        # Spent before the slow part and given back after a success: a guess sent many times at once is many guesses.
        self._failed_attempts.spend(key)
        try:
            attempt, is_right = await self._platform.in_thread(
                lambda: self._try(candidates, key, password, counted)
            )
        except (LimitExceeded, StorageError) as error:
            # The password was not looked at.
            self._failed_attempts.give_back(key)
            if isinstance(error, LimitExceeded):
                self._bans.remember(counted, error)
            raise
        account = attempt.account
        if not is_right or account is None:
            await self._bans.record_failure(counted, key)
            # The same for a wrong password, a wrong name and a deactivated account.
            raise NotAllowed("The user name or the password is wrong.")
        await self._bans.forget_failures(counted, key, SeenFailures(changes, attempt.is_counted))
        self._failed_attempts.give_back(key)
        await self._renew_hash(account, password)
        return account

    def _try(
        self, candidates: Sequence[str], key: str, password: str, address: str
    ) -> tuple[LoginAttempt, bool]:
        """What was known of the attempt, and whether the password is right. Raises `LimitExceeded`.

        On a thread, which asks the database by itself: the ways to another thread and back take longer than the answer.
        """
        attempt = self._database.ask_here(lambda tx: self._attempts.get(tx, candidates, address, key))
        self._bans.check_ended(attempt.banned_until_ms)
        account = attempt.account
        password_hash = None if account is None or account.is_deactivated else account.password_hash
        return attempt, self._passwords.is_right(password, password_hash)

    async def _renew_hash(self, account: AccountRow, password: str) -> None:
        if account.password_hash is not None and self._passwords.is_outdated(account.password_hash):
            new_hash = await self._passwords.hash(password)
            await self._committer.commit(SetPasswordHash(account.user_id, new_hash))
