"""What has to be known before somebody's password is looked at."""

from collections.abc import Sequence

from storage.accounts import ACCOUNT_COLUMNS, AccountRow, account_row
from storage.database import Transaction
from synapse_like_config.lazy_dataclasses import dataclass

_SQL = (
    "SELECT (SELECT until_ms FROM login_bans WHERE address = ?),"  # noqa: S608
    " (SELECT 1 FROM login_failures WHERE address = ? AND user_id = ?),"
    f" {ACCOUNT_COLUMNS} FROM (SELECT 1 AS one) AS attempt"
    " LEFT JOIN accounts ON accounts.user_id IN (??)"
)


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """The account that is meant, if there is one, and what is known of who tries."""

    account: AccountRow | None
    banned_until_ms: int | None
    """Until when the address is or was banned last."""
    is_counted: bool
    """Whether failures of this account count against the address."""


class LoginAttemptsRepository:
    def get(self, tx: Transaction, user_ids: Sequence[str], address: str, counted_as: str) -> LoginAttempt:
        """With one statement. `user_ids`: who may be meant, the likeliest first; `counted_as` stands in failures."""
        rows = tx.all(_SQL, (address, address, counted_as, user_ids))
        until_ms, counted, *_ = rows[0]
        found = {row[2]: account_row(row[2:]) for row in rows if row[2] is not None}
        account = next((found[user_id] for user_id in user_ids if user_id in found), None)
        return LoginAttempt(account, until_ms, counted is not None)
