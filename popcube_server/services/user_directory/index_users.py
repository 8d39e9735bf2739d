"""Keeps the user directory: the work of a durable follower of the log."""

from collections.abc import Iterable, Sequence
from typing import Final

import orjson

from federation.room_dag.identifiers import domain_of
from popcube_server.services.rooms.room_summaries import RoomSummaries
from popcube_server.services.user_directory.member_names import read_names
from popcube_server.services.user_directory.words import words_of_user
from storage.accounts import AccountRow, AccountsRepository, CreateAccount, DeactivateAccount
from storage.change import Change, LogEntry
from storage.committer import Committer
from storage.database import Database, Transaction
from storage.events import StoreEvent
from storage.profiles import ClearProfile, ProfilesRepository, SetProfileField
from storage.user_directory import IndexUser, SetOpenRoom, UserDirectoryRepository

_USERS: Final = frozenset(
    (CreateAccount.kind, DeactivateAccount.kind, SetProfileField.kind, ClearProfile.kind, "account")
)
_ROOM_TYPES: Final = ("m.room.join_rules", "m.room.history_visibility")
_SUPPORT: Final = "support"


class IndexUsers:
    name = "user_directory"

    def __init__(
        self, server_name: str, database: Database, committer: Committer, summaries: RoomSummaries
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._committer = committer
        self._summaries = summaries
        self._accounts = AccountsRepository()
        self._profiles = ProfilesRepository()
        self._directory = UserDirectoryRepository()

    def concerns(self, entry: LogEntry) -> bool:
        change = entry.change
        if isinstance(change, StoreEvent):
            return _opens_or_closes(change) or bool(self._coming(change))
        return entry.kind in _USERS or entry.kind == StoreEvent.kind

    async def handle(self, entries: Sequence[LogEntry]) -> None:
        user_ids = list(dict.fromkeys(entry.key[0] for entry in entries if entry.kind in _USERS))
        room_ids = list(dict.fromkeys(entry.key[0] for entry in entries if entry.kind == StoreEvent.kind))
        changes: list[Change] = []
        if user_ids:
            changes += await self._database.read(lambda tx: self._index(tx, user_ids))
        changes += await self._of_other_servers(entries)
        rooms = await self._summaries.of(room_ids)
        changes += [
            SetOpenRoom(room_id, room.is_world_readable or room.join_rule == "public")
            for room_id, room in rooms.items()
        ]
        if changes:
            await self._committer.commit(*changes)

    async def _of_other_servers(self, entries: Sequence[LogEntry]) -> Sequence[Change]:
        """Members of rooms, who have no account here."""
        events = [entry for entry in entries if entry.kind == StoreEvent.kind]
        coming = {
            user_id
            for entry in events
            if isinstance(entry.change, StoreEvent)
            for user_id in self._coming(entry.change)
        }
        # What was committed before a restart is known by its room only.
        rooms = list(dict.fromkeys(entry.key[0] for entry in events if entry.change is None))
        if not coming and not rooms:
            return ()
        return await self._database.read(lambda tx: self._index_members(tx, coming, rooms))

    def _index_members(self, tx: Transaction, coming: Iterable[str], rooms: Sequence[str]) -> list[IndexUser]:
        joined = self._directory.get_joined(tx, rooms) if rooms else []
        others = [one for one in {*coming, *joined} if domain_of(one) != self._server_name]
        return [
            IndexUser(user_id, _words_of_member(user_id, events), is_locked=False)
            for user_id, events in self._directory.get_member_events(tx, others).items()
        ]

    def _coming(self, change: StoreEvent) -> Sequence[str]:
        """Users of other servers who come into a room, or are called otherwise there."""
        return [
            one.user_id
            for one in change.memberships
            if one.membership == "join" and domain_of(one.user_id) != self._server_name
        ]

    def _index(self, tx: Transaction, user_ids: Sequence[str]) -> list[IndexUser]:
        accounts = self._accounts.get(tx, user_ids)
        names = self._profiles.get_field(tx, user_ids, "displayname")
        return [_indexed(user_id, accounts.get(user_id), names.get(user_id)) for user_id in user_ids]


def _indexed(user_id: str, account: AccountRow | None, field: bytes | None) -> IndexUser:
    if account is None or not _can_be_found(account):
        return IndexUser(user_id, frozenset(), is_locked=False)
    name = None if field is None else orjson.loads(field)
    words = words_of_user(user_id, name if isinstance(name, str) else None)
    return IndexUser(user_id, words, account.is_locked)


def _words_of_member(user_id: str, events: Sequence[bytes]) -> frozenset[str]:
    words = words_of_user(user_id, None)
    for name in read_names(events):
        words |= words_of_user(user_id, name.display_name)
    return words


def _can_be_found(account: AccountRow) -> bool:
    return not account.is_deactivated and account.user_type != _SUPPORT


def _opens_or_closes(change: StoreEvent) -> bool:
    if change.redacts is not None:
        return True
    if change.new_state is None:
        return False
    changed = (*change.new_state.changes, *change.new_state.current_changes)
    return any(event_type in _ROOM_TYPES for event_type, _, _ in changed)
