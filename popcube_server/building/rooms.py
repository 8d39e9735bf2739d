"""Builds rooms: the engine, and what users do in them."""

from collections.abc import Sequence
from dataclasses import dataclass

from federation.rooms.create_room import CreateRoom
from federation.rooms.event_store import EventStore
from federation.rooms.live_rooms import LiveRooms, RoomRepositories
from federation.rooms.outcomes import PushOutcomes
from federation.rooms.send_event import Author, SendEvent
from popcube_server.building.core import Core
from popcube_server.services.rooms.user_rooms import UserRooms
from storage.events import EventsRepository
from storage.memberships import MembershipsRepository
from storage.rooms import RoomsRepository
from storage.snapshots import SnapshotsRepository

USER_ROOMS_CACHE_SIZE = 20_000


@dataclass(frozen=True, slots=True)
class RoomBase:
    """What reads rooms; built first, since push rules need it and the engine needs push rules."""

    repositories: RoomRepositories
    events: EventStore
    rooms: LiveRooms
    user_rooms: UserRooms


@dataclass(frozen=True, slots=True)
class Engine:
    """What writes rooms."""

    send_event: SendEvent
    create_room: CreateRoom


def build_room_base(core: Core) -> RoomBase:
    repositories = RoomRepositories(
        RoomsRepository(), EventsRepository(), SnapshotsRepository(), MembershipsRepository()
    )
    events = EventStore(core.database, repositories.events, core.log, core.config.caches.events)
    core.metrics.cache("events", lambda: len(events), lambda: events.hits, lambda: events.misses)
    rooms = LiveRooms(core.database, repositories, events, core.log, core.config.popcube.memory.live_rooms)
    core.metrics.cache("rooms", lambda: len(rooms), lambda: rooms.hits, lambda: rooms.loads)
    user_rooms = UserRooms(core.database, repositories.memberships, rooms, core.log, USER_ROOMS_CACHE_SIZE)
    return RoomBase(repositories, events, rooms, user_rooms)


def build_engine(core: Core, base: RoomBase, outcomes: PushOutcomes) -> Engine:
    author = Author(core.signer, core.platform.now_ms, core.platform.random_letters)
    send_event = SendEvent(base.rooms, base.events, core.committer, outcomes, author)
    create_room = CreateRoom(base.rooms, base.events, core.committer, send_event, author)
    return Engine(send_event, create_room)


