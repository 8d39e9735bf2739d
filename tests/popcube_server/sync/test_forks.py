"""Rooms whose state is resolved: whatever comes in whatever order, clients end with the state that is so."""

import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from federation.rooms.accept_event import AcceptEvent
from federation.rooms.history.room_holes import RoomHoles
from federation.rooms.outcomes import NoPushOutcomes
from federation.rooms.policy.ask_policy_server import NoPolicyServers
from federation.rooms.take_room import TakeRoom
from popcube_server.services.keys.device_list_changes import NOTHING, ChangedLists
from popcube_server.services.platform import Platform
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.event_json import EventJson, NoAggregations
from popcube_server.services.rooms.event_memberships import EventMemberships
from popcube_server.services.rooms.membership_history import MembershipHistories
from popcube_server.services.rooms.past_views import PastViews
from popcube_server.services.rooms.sent_transactions import SentTransactions
from popcube_server.services.rooms.user_rooms import UserRooms
from popcube_server.services.rooms.visibility import Visibility
from popcube_server.services.rooms.visibility_history import VisibilityHistories
from popcube_server.services.sync.answers import Answers, Sources
from popcube_server.services.sync.heroes import Heroes
from popcube_server.services.sync.lazy_members import SentMembers
from popcube_server.services.sync.places import Places
from popcube_server.services.sync.recent_events import RecentEvents
from popcube_server.services.sync.request import StateStyle, SyncRequest, SyncView
from popcube_server.services.sync.room_sections import RoomSections
from popcube_server.services.sync.room_states import RoomStates
from popcube_server.services.sync.room_tasks import RoomTasks
from popcube_server.services.sync.shared_sections import SharedSections
from popcube_server.services.sync.sources import DataEntry, RoomCounts, UserData
from popcube_server.services.sync.stripped_rooms import StrippedRooms
from popcube_server.services.sync.stripped_state import DEFAULT_TYPES, RoomStrippedState
from popcube_server.services.sync.timelines import Timelines
from popcube_server.services.sync.tokens import ONLY_SITE
from storage.event_rows import EventsRepository
from storage.gaps import GapsRepository
from storage.memberships import MembershipsRepository
from storage.one_time_keys import DeviceKeyCounts
from storage.snapshots import SnapshotsRepository
from storage.state_entries import StateEntriesRepository
from tests.federation.room_dag.builders import ALICE, BOB, CAROL, DAVE, RoomBuilder, given_room
from tests.federation.rooms.engine_case import EngineMixin
from tests.storage.storage_case import SqliteStorage, synchronous

USERS = (ALICE, BOB, CAROL, DAVE)


class Nothing:
    """Every source of sync but rooms, where nothing ever happens."""

    async def between(self, *_: object) -> Any:
        return {}

    async def of_rooms(self, *_: object) -> Mapping[str, Sequence[DataEntry]]:
        return {}

    async def after(self, *_: object) -> Sequence[tuple[int, bytes]]:
        return ()

    async def delivered(self, *_: object) -> None:
        return

    async def delivered_elsewhere(self, *_: object) -> None:
        return

    async def seen(self, *_: object) -> None:
        return

    async def of(self, *_: object) -> DeviceKeyCounts:
        return DeviceKeyCounts({}, ())

    async def counts(self, *_: object) -> Mapping[str, RoomCounts]:
        return {}

    async def ignored(self, *_: object) -> Collection[str]:
        return ()

    async def blocks_invites(self, *_: object) -> bool:
        return False


class NoUserData(Nothing):
    async def between(self, *_: object) -> UserData:
        return UserData()


class NoPresence(Nothing):
    async def between(self, *_: object) -> Sequence[tuple[str, bytes]]:
        return ()


class NoDeviceLists(Nothing):
    async def between(self, *_: object) -> ChangedLists:
        return NOTHING


class Client:
    """A client's state of one room."""

    def __init__(self, style: StateStyle, limit: int) -> None:
        self.style = style
        self.limit = limit
        self.since: int | None = None
        self.state: dict[tuple[str, str], str] = {}


class NothingReceived:
    """All invites are of rooms that are here."""

    async def find(self, user_id: str, room_id: str) -> None:
        return None


class ForkTests(SqliteStorage, EngineMixin, SynchronousTestCase):
    def open(self) -> None:
        super().open()
        repository = EventsRepository()
        user_rooms = UserRooms(self.database, MembershipsRepository(), self.rooms, self.log, 100)
        histories = MembershipHistories(self.database, repository, user_rooms, self.log)
        visibilities = VisibilityHistories(self.database, repository, self.rooms, self.log)
        past = PastViews(self.database, StateEntriesRepository(), self.events)
        visibility = Visibility(histories, visibilities, user_rooms, past)
        memberships = EventMemberships(histories, past)
        holes = RoomHoles(self.database, GapsRepository(), self.log)
        sent = SentTransactions(self.log)
        event_json = EventJson(self.events, sent, visibility, memberships, NoAggregations(), lambda: 0)
        recent = RecentEvents(self.database, repository, self.events, self.log, 100)
        platform = Platform(Clock(), bytes, synchronous)
        places = Places(ONLY_SITE, self.database, self.log, platform)
        timelines = Timelines(recent, event_json, visibility, memberships, holes, sent, places, lambda: 0)
        heroes = Heroes(self.database, MembershipsRepository(), self.events, 100)
        sections = RoomSections(
            timelines,
            self.events,
            event_json,
            NoAggregations(),
            heroes,
            SentMembers(100),
            SharedSections(lambda: 0),
        )
        states = RoomStates(
            self.database, repository, SnapshotsRepository(), self.events, self.rooms, self.log
        )
        nothing = Nothing()
        self.answers = Answers(
            self.log,
            user_rooms,
            states,
            RoomTasks(self.database, repository, histories, states),
            sections,
            StrippedRooms(
                self.rooms, RoomStrippedState(self.events, DEFAULT_TYPES, ()), NothingReceived(), nothing
            ),
            Sources(
                NoUserData(),
                nothing,
                nothing,
                NoPresence(),
                nothing,
                NoDeviceLists(),
                nothing,
                nothing,
                nothing,
            ),
            places,
            (),
        )
        self.accept_event = AcceptEvent(
            self.rooms, self.events, self.database, self.committer, NoPushOutcomes(), NoPolicyServers()
        )

    def test_clients_end_with_the_state_that_is_so(self) -> None:
        for seed in range(10):
            self.setUp()
            chance = random.Random(seed)
            room = forked_room(chance)
            take_room = TakeRoom(self.rooms, self.events, self.committer)
            self.result(take_room.take(room.rules, room.create, {}, ()))
            clients = [Client(style, limit) for style in StateStyle for limit in (1, 5, 100)]
            for event in list(room.events.by_id.values())[1:]:
                self.result(self.accept_event.accept(event))
                if chance.random() < 0.05:
                    self.open()
                if chance.random() < 0.5:
                    self.sync(chance.choice(clients), str(room.room_id))
            live = self.room(str(room.room_id))
            self.assertTrue(live.committed.is_joined(ALICE))
            for client in clients:
                self.sync(client, str(room.room_id))
                self.assertEqual(
                    client.state, dict(live.committed.entries), (seed, client.style, client.limit)
                )

    def sync(self, client: Client, room_id: str) -> None:
        requester = Requester(ALICE, "DEVICE", "session")
        view = SyncView(timeline_limit=client.limit)
        request = SyncRequest(requester, None, view, state_style=client.style)
        answer = self.result(self.answers.make(request, client.since, client.since or 0))
        client.since = answer.upto
        if answer.body is None:
            return
        part = orjson.loads(answer.body).get("rooms", {}).get("join", {}).get(room_id)
        if part is None:
            return
        for event in part[client.style.value.decode()]["events"]:
            client.state[event["type"], event["state_key"]] = event["event_id"]
        for event in part["timeline"]["events"]:
            if "state_key" in event and client.style is StateStyle.BEFORE:
                client.state[event["type"], event["state_key"]] = event["event_id"]


def forked_room(chance: random.Random) -> RoomBuilder:
    """A room in which four users of three servers act without seeing each other."""
    room = given_room("12")
    for user in USERS[1:]:
        room.join(user)
    levels = {BOB: 100, CAROL: 50}
    recent = [room.append("m.room.power_levels", ALICE, {"users": levels}, "")]
    for number in range(25):
        prev = chance.sample(recent, min(len(recent), chance.choice((1, 1, 2))))
        sender, target = chance.choice(USERS), chance.choice(USERS[1:])
        what = chance.randrange(5)
        if what == 0:
            event = room.append("m.room.message", sender, {"body": str(number)}, prev=prev)
        elif what == 1:
            content = {"membership": chance.choice(("leave", "ban", "invite"))}
            event = room.append("m.room.member", sender, content, target, prev=prev)
        elif what == 2:
            event = room.append("m.room.member", target, {"membership": "join"}, target, prev=prev)
        else:
            event = room.append("m.room.topic", sender, {"topic": str(number)}, "", prev=prev)
        if event.event_id not in room.rejected:
            recent = [*recent[-4:], event]
    return room
