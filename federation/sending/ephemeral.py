"""What passes: typing, receipts, presence. Sent to who is there, forgotten for who is not."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

from federation.room_dag.identifiers import domain_of
from federation.rooms.live_rooms import LOADED_TOGETHER
from federation.sending.destination_queue import Passing, TypingEdu
from federation.sending.edus import typing_edu
from federation.sending.room_servers import RoomServers
from storage.change import LogEntry
from storage.presence import SetPresence
from storage.receipts import PUBLIC, StoreReceipt
from storage.typing_notices import PeerTyping, TypingChanged
from synapse_like_config.lazy_dataclasses import dataclass


class JoinedRooms(Protocol):
    """Knows who is where."""

    async def joined_rooms(self, user_id: str) -> Sequence[str]:
        """IDs of the rooms that a user is in."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What some servers are told."""

    destinations: Collection[str]
    passing: Passing


class SharingServers:
    """The servers that share rooms with a user."""

    def __init__(self, joined: JoinedRooms, servers: RoomServers) -> None:
        self._joined = joined
        self._servers = servers

    async def of_user(self, user_id: str) -> frozenset[str]:
        found: set[str] = set()
        rooms = await self._joined.joined_rooms(user_id)
        for start in range(0, len(rooms), LOADED_TOGETHER):
            chunk = rooms[start : start + LOADED_TOGETHER]
            await self._servers.load(chunk)
            for room_id in chunk:
                found.update(await self._servers.get(room_id))
        return frozenset(found)

    async def is_shared(self, user_id: str, server_name: str) -> bool:
        """Whether the user is in a room with users of that server."""
        for room_id in await self._joined.joined_rooms(user_id):
            if server_name in await self._servers.get(room_id):
                return True
        return False


class EphemeralEdus:
    """Makes EDUs of entries of the log, for users of this server only."""

    def __init__(self, server_name: str, servers: RoomServers, sharing: SharingServers) -> None:
        self._server_name = server_name
        self._servers = servers
        self._sharing = sharing
        self._typing: dict[str, frozenset[str]] = {}
        """By room: which users of this server others were told are typing."""
        self._typists: dict[str, dict[str, frozenset[str]]] = {}
        """By room, then by the site that says so: those who type. The empty name is this site's."""
        self._makers: dict[str, Callable[[LogEntry], Awaitable[Sequence[Outgoing]]]] = {
            TypingChanged.kind: self._typing_edus,
            StoreReceipt.kind: self._receipts,
            SetPresence.kind: self._presence,
        }

    @property
    def is_anybody_typing(self) -> bool:
        return bool(self._typing)

    def concerns(self, entry: LogEntry) -> bool:
        # What is known only by its key happened before a restart: it has passed.
        return entry.kind in self._makers and entry.change is not None

    async def make(self, entry: LogEntry) -> Sequence[Outgoing]:
        return await self._makers[entry.kind](entry)

    async def make_renewals(self) -> Sequence[Outgoing]:
        """Who types still: other servers stop showing it by themselves after a while."""
        return [
            await self._typing_edu(room_id, user_id, True)
            for room_id, user_ids in tuple(self._typing.items())
            for user_id in sorted(user_ids)
        ]

    def _is_ours(self, user_id: str) -> bool:
        return domain_of(user_id) == self._server_name

    async def _others_in(self, room_id: str) -> frozenset[str]:
        return frozenset(await self._servers.get(room_id)) - {self._server_name}

    async def _typing_edus(self, entry: LogEntry) -> Sequence[Outgoing]:
        change = entry.change
        assert isinstance(change, TypingChanged | PeerTyping)
        ours = frozenset(user_id for user_id in change.user_ids if self._is_ours(user_id))
        now = self._typists_with(change.room_id, change.log if isinstance(change, PeerTyping) else "", ours)
        before = self._typing.pop(change.room_id, frozenset())
        if now and await self._others_in(change.room_id):
            self._typing[change.room_id] = now
        return [
            await self._typing_edu(change.room_id, user_id, user_id in now)
            for user_id in sorted(now ^ before)
        ]

    def _typists_with(self, room_id: str, site: str, user_ids: frozenset[str]) -> frozenset[str]:
        """Everybody who types in a room, with what a site says now."""
        by_site = {**self._typists.pop(room_id, {}), site: user_ids}
        kept = {name: of_site for name, of_site in by_site.items() if of_site}
        if kept:
            self._typists[room_id] = kept
        return frozenset().union(*kept.values())

    async def _typing_edu(self, room_id: str, user_id: str, is_typing: bool) -> Outgoing:
        key = (TypingChanged.kind, room_id, user_id)
        news = TypingEdu(typing_edu(room_id, user_id, is_typing))
        return Outgoing(await self._others_in(room_id), Passing(key, None, news))

    async def _receipts(self, entry: LogEntry) -> Sequence[Outgoing]:
        change = entry.change
        assert isinstance(change, StoreReceipt)
        # "m.read.private receipts MUST NOT be sent over federation."
        if change.type != PUBLIC or not self._is_ours(change.user_id):
            return ()
        return [Outgoing(await self._others_in(change.room_id), receipt_passing(change, entry.position))]

    async def _presence(self, entry: LogEntry) -> Sequence[Outgoing]:
        change = entry.change
        assert isinstance(change, SetPresence)
        if not self._is_ours(change.user_id):
            return ()
        others = await self._sharing.of_user(change.user_id) - {self._server_name}
        return [Outgoing(others, presence_passing(change, entry.position))]


def receipt_passing(receipt: StoreReceipt, position: int) -> Passing:
    return Passing((StoreReceipt.kind, *receipt.key()), position, receipt)


def presence_passing(presence: SetPresence, position: int | None) -> Passing:
    return Passing((SetPresence.kind, presence.user_id), position, presence)
