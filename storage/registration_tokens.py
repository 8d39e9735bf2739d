"""Registration tokens: who holds one may make an account, as often as it allows."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, Self

from storage.change import Change, Conflict
from storage.database import Transaction, WriteTransaction
from storage.engines.engine import UniqueViolation
from storage.replication.own_site import find_own_log
from synapse_like_config.lazy_dataclasses import dataclass

REGISTRATION_TOKEN: Final = "registration_token"  # noqa: S105
"""The record of a token: (token)."""
TOKEN_USES: Final = "registration_token.uses"  # noqa: S105
"""The record of how often it was used at a site: (token, log)."""


class TokenUsedUp(Conflict):
    """The registration token is unknown, expired, or has no use left."""


class TokenExists(Conflict):
    """There is such a registration token already."""


@dataclass(frozen=True, slots=True)
class RegistrationTokenRow:
    """A token. None for `uses_allowed` and `expires_ms` is without end; `pending` are registrations under way."""

    token: str
    uses_allowed: int | None
    pending: int
    completed: int
    expires_ms: int | None

    def is_usable(self, now_ms: int) -> bool:
        """Whether one more registration may begin with it."""
        if self.expires_ms is not None and self.expires_ms <= now_ms:
            return False
        return self.uses_allowed is None or self.pending + self.completed < self.uses_allowed


def _find(tx: Transaction, token: str, now_ms: int) -> RegistrationTokenRow | None:
    row = tx.one(
        "SELECT token, uses_allowed, (SELECT COUNT(*) FROM registration_token_reservations r"
        " WHERE r.token = t.token AND r.expires_ms > ?), completed + COALESCE("
        "(SELECT SUM(u.completed) FROM registration_token_uses u WHERE u.token = t.token), 0), expires_ms"
        " FROM registration_tokens t WHERE token = ?",
        (now_ms, token),
    )
    return None if row is None else RegistrationTokenRow(*row)


class RegistrationTokensRepository:
    def find(self, tx: Transaction, token: str, now_ms: int) -> RegistrationTokenRow | None:
        return _find(tx, token, now_ms)

    def get_all(self, tx: Transaction, now_ms: int) -> list[RegistrationTokenRow]:
        tokens = [row[0] for row in tx.all("SELECT token FROM registration_tokens ORDER BY token")]
        rows = [_find(tx, token, now_ms) for token in tokens]
        return [row for row in rows if row is not None]

    def find_uses(self, tx: Transaction, token: str, log: str) -> int:
        """How often it was used at a site."""
        if log == find_own_log(tx):
            uses = tx.value("SELECT completed FROM registration_tokens WHERE token = ?", (token,))
        else:
            uses = tx.value(
                "SELECT completed FROM registration_token_uses WHERE token = ? AND log = ?",
                (token, tx.name_id(log)),
            )
        return uses or 0


@dataclass(frozen=True, slots=True)
class CreateRegistrationToken(Change):
    """A new token. Raises `TokenExists`."""

    kind: ClassVar[str] = "registration_token"
    area: ClassVar[str] = "registration_tokens"

    token: str
    uses_allowed: int | None
    expires_ms: int | None

    def key(self) -> tuple[str, ...]:
        return (self.token,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((REGISTRATION_TOKEN, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        try:
            tx.many(
                "INSERT INTO registration_tokens (token, uses_allowed, completed, expires_ms, position)"
                " VALUES (?, ?, ?, ?, ?)",
                [
                    (change.token, change.uses_allowed, 0, change.expires_ms, position)
                    for position, change in changes
                ],
            )
        except UniqueViolation as error:
            raise TokenExists("there is such a token already") from error


@dataclass(frozen=True, slots=True)
class UpdateRegistrationToken(CreateRegistrationToken):
    """Another number of uses, or another end. Uses made so far count on."""

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "UPDATE registration_tokens SET uses_allowed = ?, expires_ms = ?, position = ? WHERE token = ?",
            [
                (change.uses_allowed, change.expires_ms, position, change.token)
                for position, change in changes
            ],
        )


@dataclass(frozen=True, slots=True)
class DeleteRegistrationToken(Change):
    kind: ClassVar[str] = "registration_token"
    area: ClassVar[str] = "registration_tokens"

    token: str

    def key(self) -> tuple[str, ...]:
        return (self.token,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((REGISTRATION_TOKEN, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        rows = [(change.token,) for _, change in changes]
        tx.many("DELETE FROM registration_tokens WHERE token = ?", rows)
        tx.many("DELETE FROM registration_token_reservations WHERE token = ?", rows)
        tx.many("DELETE FROM registration_token_uses WHERE token = ?", rows)


@dataclass(frozen=True, slots=True)
class MergeRegistrationToken(CreateRegistrationToken):
    """A token as another site has it, new or changed; its uses are counted by site."""

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for position, change in changes:
            tx.run(
                "INSERT INTO registration_tokens (token, uses_allowed, completed, expires_ms, position)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT (token) DO UPDATE SET uses_allowed = excluded.uses_allowed,"
                " expires_ms = excluded.expires_ms, position = excluded.position",
                (change.token, change.uses_allowed, 0, change.expires_ms, position),
            )


@dataclass(frozen=True, slots=True)
class CountTokenUses(Change):
    """How often a token was used at another site; it only grows."""

    kind: ClassVar[str] = "registration_token"
    area: ClassVar[str] = "registration_tokens"

    token: str
    log: str
    completed: int

    def key(self) -> tuple[str, ...]:
        return (self.token,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            tx.run(
                "INSERT INTO registration_token_uses (token, log, completed) VALUES (?, ?, ?)"
                " ON CONFLICT (token, log) DO UPDATE SET completed = excluded.completed"
                " WHERE registration_token_uses.completed < excluded.completed",
                (change.token, tx.intern_one(change.log), change.completed),
            )


@dataclass(frozen=True, slots=True)
class ReserveRegistrationToken(Change):
    """A registration under way takes a use, until it completes or `expires_ms`. Raises `TokenUsedUp`."""

    kind: ClassVar[str] = "registration_token_reservation"
    area: ClassVar[str] = "registration_tokens"
    logged: ClassVar[bool] = False

    token: str
    session_id: str
    now_ms: int
    expires_ms: int

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            tx.run("DELETE FROM registration_token_reservations WHERE expires_ms <= ?", (change.now_ms,))
            row = _find(tx, change.token, change.now_ms)
            if row is None or not row.is_usable(change.now_ms):
                raise TokenUsedUp("the registration token cannot be used")
            tx.run(
                "INSERT INTO registration_token_reservations (session_id, token, expires_ms) VALUES (?, ?, ?)"
                " ON CONFLICT (session_id) DO NOTHING",
                (change.session_id, change.token, change.expires_ms),
            )


@dataclass(frozen=True, slots=True)
class UseRegistrationToken(Change):
    """The registration that reserved a use is done. Raises `TokenUsedUp` if the reservation is gone."""

    kind: ClassVar[str] = "registration_token"
    area: ClassVar[str] = "registration_tokens"

    token: str
    session_id: str

    def key(self) -> tuple[str, ...]:
        return (self.token,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((TOKEN_USES, (self.token, str(result))),) if result else ()

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[object]:
        """On several sites, this one's log."""
        log = find_own_log(tx)
        for position, change in changes:
            taken = tx.all(
                "DELETE FROM registration_token_reservations WHERE session_id = ? AND token = ? RETURNING token",
                (change.session_id, change.token),
            )
            if not taken:
                raise TokenUsedUp("the registration token cannot be used")
            tx.run(
                "UPDATE registration_tokens SET completed = completed + 1, position = ? WHERE token = ?",
                (position, change.token),
            )
        return [log for _ in changes]
