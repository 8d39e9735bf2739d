"""Make an account."""

from collections.abc import Callable

from federation.room_dag.canonical_json import encode_canonical
from popcube_server.services.accounts.user_names import new_user_id
from popcube_server.services.auth.passwords import Passwords
from popcube_server.services.errors import WithCode
from popcube_server.services.platform import Platform
from storage.accounts import AccountExists, AccountsRepository, CreateAccount
from storage.change import Change
from storage.committer import Committer
from storage.database import Database
from storage.profiles import NameNewAccount, SetProfileField
from synapse_like_config.lazy_dataclasses import dataclass

RANDOM_NAME_LENGTH = 12

INCARNATION_LENGTH = 12


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What is wanted. Without a password nobody logs in with one; None for `display_name` takes the localpart."""

    user_id: str
    password: str | None
    display_name: str | None = None
    is_admin: bool = False
    is_guest: bool = False
    user_type: str | None = None


class RegisterAccount:
    """Makes accounts. Whether somebody may have one was decided before."""

    def __init__(
        self,
        platform: Platform,
        server_name: str,
        database: Database,
        committer: Committer,
        passwords: Passwords,
        is_exclusive: Callable[[str], bool],
    ) -> None:
        self._platform = platform
        self._server_name = server_name
        self._database = database
        self._committer = committer
        self._passwords = passwords
        self._is_exclusive = is_exclusive
        self._accounts = AccountsRepository()

    def random_user_id(self) -> str:
        """A user ID for somebody who chose none."""
        return new_user_id(self._platform.random_letters(RANDOM_NAME_LENGTH), self._server_name)

    async def check_available(self, name: str) -> str:
        """The user ID that `name` would give. Raises if it is impossible, reserved or taken."""
        user_id = self.check_possible(name)
        if await self._database.ask(lambda tx: self._accounts.exists(tx, user_id)):
            raise _in_use()
        return user_id

    def check_possible(self, name: str) -> str:
        """`check_available` that does not tell whether the name is taken."""
        user_id = new_user_id(name, self._server_name)
        if self._is_exclusive(user_id):
            raise WithCode(400, "M_EXCLUSIVE", "This user name is reserved.")
        return user_id

    async def register(self, new: NewAccount, *also: Change) -> None:
        """Make the account; `also` is committed together with it. Raises `WithCode` if the name is taken."""
        password_hash = None if new.password is None else await self._hash(new.user_id, new.password)
        changes: list[Change] = [
            CreateAccount(
                new.user_id,
                password_hash,
                self._platform.now_ms(),
                new.is_guest,
                new.is_admin,
                new.user_type,
                self._platform.random_letters(INCARNATION_LENGTH),
            ),
            *also,
        ]
        if not new.is_guest:
            changes.append(_name(new))
        try:
            await self._committer.commit(*changes)
        except AccountExists as error:
            raise _in_use() from error

    async def _hash(self, user_id: str, password: str) -> str:
        # On the thread that hashes: the way to another one and back takes longer than the answer.
        return await self._platform.in_thread(lambda: self._hash_if_free(user_id, password))

    def _hash_if_free(self, user_id: str, password: str) -> str:
        """Nothing is hashed, and nobody's commit made to wait, for a name that is taken."""
        if self._database.ask_here(lambda tx: self._accounts.exists(tx, user_id)):
            raise _in_use()
        return self._passwords.hash_here(password)


def _name(new: NewAccount) -> SetProfileField:
    if new.display_name is not None:
        return SetProfileField(new.user_id, "displayname", encode_canonical(new.display_name))
    localpart = new.user_id[1:].partition(":")[0]
    return NameNewAccount(new.user_id, "displayname", encode_canonical(localpart))


def _in_use() -> WithCode:
    return WithCode(400, "M_USER_IN_USE", "This user name is taken.")
