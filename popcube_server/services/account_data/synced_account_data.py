"""Account data as sync delivers it: all of it, or what changed between two positions. Push rules are part of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from popcube_server.services.account_data.account_data import PUSH_RULES
from popcube_server.services.push.push_rules import encode_rules_content
from storage.account_data import NO_ROOM, AccountDataRepository, AccountDataRow
from storage.database import Database, Transaction
from storage.push_rules import PushRulesRepository


@dataclass(frozen=True, slots=True)
class AccountDataEvent:
    """One `account_data` event: its type, and its content as JSON text."""

    type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class AccountDataEvents:
    """For the whole account, and by room."""

    of_account: list[AccountDataEvent] = field(default_factory=list)
    of_rooms: dict[str, list[AccountDataEvent]] = field(default_factory=dict)

    def is_empty(self) -> bool:
        return not self.of_account and not self.of_rooms


class SyncedAccountData:
    """Each call is one read of the database. The methods ending in `_within` take part in somebody else's."""

    def __init__(
        self, database: Database, repository: AccountDataRepository, push_rules: PushRulesRepository
    ) -> None:
        self._database = database
        self._repository = repository
        self._push_rules = push_rules

    async def get_all(self, user_id: str) -> AccountDataEvents:
        """Everything: what an initial sync wants."""
        return await self._database.read(lambda tx: self.get_all_within(tx, user_id))

    async def get_changed(self, user_id: str, after: int, upto: int) -> AccountDataEvents:
        """What changed last at positions `after` < p <= `upto`."""
        return await self._database.read(lambda tx: self.get_changed_within(tx, user_id, after, upto))

    async def get_of_room(self, user_id: str, room_id: str) -> Sequence[AccountDataEvent]:
        """Everything about one room: for a room that the client has not seen before."""
        rows = await self._database.read(lambda tx: self._repository.get_of_room(tx, user_id, room_id))
        return [AccountDataEvent(row.type, row.content) for row in rows]

    def get_all_within(self, tx: Transaction, user_id: str) -> AccountDataEvents:
        events = _by_room(self._repository.get_all(tx, user_id))
        row = self._push_rules.find(tx, user_id)
        content = encode_rules_content(None if row is None else row.rules, user_id)
        events.of_account.append(AccountDataEvent(PUSH_RULES, content))
        return events

    def get_changed_within(self, tx: Transaction, user_id: str, after: int, upto: int) -> AccountDataEvents:
        events = _by_room(self._repository.get_changed(tx, user_id, after, upto))
        row = self._push_rules.find(tx, user_id)
        if row is not None and after < row.position <= upto:
            events.of_account.append(AccountDataEvent(PUSH_RULES, encode_rules_content(row.rules, user_id)))
        return events


def _by_room(rows: Sequence[AccountDataRow]) -> AccountDataEvents:
    events = AccountDataEvents()
    for row in rows:
        event = AccountDataEvent(row.type, row.content)
        if row.room_id == NO_ROOM:
            events.of_account.append(event)
        else:
            events.of_rooms.setdefault(row.room_id, []).append(event)
    return events
