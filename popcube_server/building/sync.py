"""Builds sync."""

from collections.abc import Sequence

from popcube_server.building.core import Core
from popcube_server.building.keys import EndToEnd
from popcube_server.building.room_reads import RoomReads
from popcube_server.building.rooms import RoomBase
from popcube_server.building.user_data import UserData
from popcube_server.rest.client.sync import SyncEndpoint
from popcube_server.services.account_data.personal_rules import PersonalRules
from popcube_server.services.federation.received_stripped import ReceivedStripped
from popcube_server.services.sync.answers import Answers, Sources
from popcube_server.services.sync.heroes import Heroes
from popcube_server.services.sync.lazy_members import SentMembers
from popcube_server.services.sync.notifier import Notifier
from popcube_server.services.sync.recent_events import RecentEvents
from popcube_server.services.sync.room_sections import RoomSections
from popcube_server.services.sync.room_states import RoomStates
from popcube_server.services.sync.room_tasks import RoomTasks
from popcube_server.services.sync.shared_sections import SharedSections
from popcube_server.services.sync.stripped_rooms import StrippedRooms
from popcube_server.services.sync.stripped_state import DEFAULT_TYPES, RoomStrippedState
from popcube_server.services.sync.sync import Sync
from popcube_server.services.sync.timelines import Timelines
from storage.stripped_states import StrippedStatesRepository
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SyncNeeds:
    """What sync uses of other areas."""

    reads: RoomReads
    user_data: UserData
    end_to_end: EndToEnd
    personal: PersonalRules


@dataclass(frozen=True, slots=True)
class SyncPart:
    """What others use of sync."""

    sync: Sync
    notifier: Notifier
    stripped: RoomStrippedState
    servlets: Sequence[object]


def build_sync(core: Core, base: RoomBase, needs: SyncNeeds) -> SyncPart:
    config, reads, user_data = core.config, needs.reads, needs.user_data
    sources = Sources(
        user_data.account_data,
        user_data.receipts,
        user_data.typing,
        user_data.presence,
        needs.end_to_end.inbox,
        needs.end_to_end.device_list_changes,
        needs.end_to_end.key_counts,
        user_data.unread,
        needs.personal,
    )
    repositories, size = base.repositories, config.popcube.memory.live_rooms
    recent = RecentEvents(core.database, repositories.events, base.events, core.log, size)
    timelines = Timelines(
        recent,
        reads.event_json,
        reads.visibility,
        reads.event_memberships,
        reads.holes,
        reads.sent,
        base.places,
        core.platform.now_ms,
    )
    sections = RoomSections(
        timelines,
        base.events,
        reads.event_json,
        reads.aggregations,
        Heroes(core.database, repositories.memberships, base.events, size),
        SentMembers(config.popcube.memory.sync_connections),
        SharedSections(core.platform.now_ms),
    )
    states = RoomStates(
        core.database, repositories.events, repositories.snapshots, base.events, base.rooms, core.log
    )
    tasks = RoomTasks(core.database, repositories.events, reads.membership_histories, states)
    prejoin = config.rooms.room_prejoin_state
    stripped = RoomStrippedState(
        base.events,
        () if prejoin.disable_default_event_types else DEFAULT_TYPES,
        prejoin.additional_event_types,
    )
    received = ReceivedStripped(core.database, StrippedStatesRepository())
    answers = Answers(
        core.log,
        base.user_rooms,
        states,
        tasks,
        sections,
        StrippedRooms(base.rooms, stripped, received, needs.personal),
        sources,
        base.places,
        config.rooms.exclude_rooms_from_sync,
    )
    notifier = Notifier(core.log, base.rooms, base.user_rooms, core.platform)
    sync = Sync(core.log, notifier, answers, sources, core.platform, base.places)
    endpoint = SyncEndpoint(sync, user_data.filters, config.rooms.filter_timeline_limit)
    return SyncPart(sync, notifier, stripped, (endpoint,))
