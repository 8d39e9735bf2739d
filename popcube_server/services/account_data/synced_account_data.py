"""Account data as sync delivers it: all of it, or what was set between two positions. Push rules are part of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from typing import Final

import orjson

from popcube_server.services.account_data.account_data import PUSH_RULES
from popcube_server.services.push.push_rules import PushRules
from popcube_server.services.sync.sources import DataEntry, UserData
from storage.account_data import NO_ROOM, AccountDataRepository, AccountDataRow, SetAccountData
from storage.database import Database, Transaction
from storage.log import Log
from synapse_like_config.lazy_dataclasses import dataclass

_RULES_KIND: Final = "push_rules"


@dataclass(slots=True)
class _Entries:
    """What was found, newest form only, by room and type; and whether the push rules are among it."""

    contents: dict[tuple[str, str], bytes] = field(default_factory=dict)
    has_rules: bool = False

    def add(self, rows: Sequence[AccountDataRow]) -> None:
        self.contents.update(((row.room_id, row.type), row.content) for row in rows)


class SyncedAccountData:
    """Sync's `UserDataSource`. What is still in the log's tail is taken from there, without the database."""

    def __init__(
        self, database: Database, repository: AccountDataRepository, push_rules: PushRules, log: Log
    ) -> None:
        self._database = database
        self._repository = repository
        self._push_rules = push_rules
        self._log = log

    async def between(self, user_id: str, since: int | None, upto: int) -> UserData:
        """What was set after `since` and up to `upto`; everything if `since` is None."""
        found = None if since is None else self._find_in_log(user_id, since, upto)
        if found is None:
            found = await self._read(user_id, since, upto)
        everywhere: list[DataEntry] = []
        rooms: dict[str, list[DataEntry]] = {}
        for (room_id, event_type), content in found.contents.items():
            target = everywhere if room_id == NO_ROOM else rooms.setdefault(room_id, [])
            target.append(DataEntry(event_type, content))
        if found.has_rules:
            everywhere.append(DataEntry(PUSH_RULES, orjson.dumps(await self._push_rules.content(user_id))))
        return UserData(everywhere, rooms)

    async def of_rooms(self, user_id: str, room_ids: Collection[str]) -> Mapping[str, Sequence[DataEntry]]:
        """Everything that the user has in these rooms."""

        def read(tx: Transaction) -> dict[str, list[DataEntry]]:
            return {
                room_id: [
                    DataEntry(row.type, row.content)
                    for row in self._repository.get_of_room(tx, user_id, room_id)
                ]
                for room_id in room_ids
            }

        return await self._database.read(read) if room_ids else {}

    def _find_in_log(self, user_id: str, since: int, upto: int) -> _Entries | None:
        entries = self._log.since(since)
        if entries is None:
            return None
        found = _Entries()
        for entry in entries:
            if entry.position > upto or entry.key[0] != user_id:
                continue
            if entry.kind == _RULES_KIND:
                found.has_rules = True
            elif entry.kind == SetAccountData.kind:
                if not isinstance(entry.change, SetAccountData):
                    # Written by another process: only the database has the value.
                    return None
                found.contents[entry.change.room_id, entry.change.type] = entry.change.content
        return found

    async def _read(self, user_id: str, since: int | None, upto: int) -> _Entries:
        found = _Entries()
        if since is None:
            found.add(await self._database.read(lambda tx: self._repository.get_all(tx, user_id)))
            found.has_rules = True
            return found
        after = since
        found.add(
            await self._database.read(lambda tx: self._repository.get_changed(tx, user_id, after, upto))
        )
        found.has_rules = after < (await self._push_rules.get(user_id)).position <= upto
        return found
