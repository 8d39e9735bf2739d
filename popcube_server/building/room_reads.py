"""Builds what reads rooms: who may see what, how events look to clients, and the pages of them."""

from collections.abc import Sequence

from federation.rooms.history.room_holes import RoomHoles
from federation.sending.room_servers import RoomServers
from popcube_server.building.core import Core
from popcube_server.building.history import History
from popcube_server.building.remote_queries import RemoteQueries
from popcube_server.building.rooms import RoomBase
from popcube_server.rest.client.event_context import EventContext
from popcube_server.rest.client.list_public_rooms import ListPublicRooms
from popcube_server.rest.client.message_pagination import MessagePagination
from popcube_server.rest.client.relations import RelationsEndpoint
from popcube_server.rest.client.room_event_by_timestamp import RoomEventByTimestamp
from popcube_server.rest.client.room_previews import (
    MutualRoomsEndpoint,
    RoomAliases,
    RoomInitialSync,
    RoomSummaryEndpoint,
    SpaceHierarchyEndpoint,
)
from popcube_server.rest.client.rooms import Rooms
from popcube_server.rest.client.threads_list import ThreadsList
from popcube_server.rest.federation.public_rooms import HierarchyForServers, PublicRoomsForServers
from popcube_server.services.account_data.personal_rules import PersonalRules
from popcube_server.services.federation.serve_directory import ServeDirectory, ServeHierarchy
from popcube_server.services.rate_limits import RateLimiter
from popcube_server.services.rooms.aggregations import BundledAggregations
from popcube_server.services.rooms.event_at_time import Elsewhere, EventAtTime
from popcube_server.services.rooms.event_json import EventJson, NoAggregations
from popcube_server.services.rooms.event_memberships import EventMemberships
from popcube_server.services.rooms.history_pages import HistoryPages
from popcube_server.services.rooms.likely_servers import LikelyServers
from popcube_server.services.rooms.list_aliases import ListAliases
from popcube_server.services.rooms.list_threads import ListThreads
from popcube_server.services.rooms.members_at import MembersAt
from popcube_server.services.rooms.membership_history import MembershipHistories
from popcube_server.services.rooms.mutual_rooms import MutualRooms
from popcube_server.services.rooms.past_views import PastViews
from popcube_server.services.rooms.preview_room import PreviewRoom
from popcube_server.services.rooms.public_rooms import PublicRooms
from popcube_server.services.rooms.read_context import ReadContext
from popcube_server.services.rooms.read_event import ReadEvent
from popcube_server.services.rooms.read_members import ReadMembers
from popcube_server.services.rooms.read_messages import ReadMessages
from popcube_server.services.rooms.read_relations import ReadRelations
from popcube_server.services.rooms.read_state import ReadState
from popcube_server.services.rooms.relation_summaries import RelationSummaries
from popcube_server.services.rooms.resolve_alias import ResolveAlias
from popcube_server.services.rooms.resolve_any_alias import ResolveAnyAlias
from popcube_server.services.rooms.room_snapshot import TakeRoomSnapshot
from popcube_server.services.rooms.room_summaries import RoomSummaries
from popcube_server.services.rooms.room_views import RoomViews
from popcube_server.services.rooms.sent_transactions import SentTransactions
from popcube_server.services.rooms.space_hierarchy import SpaceHierarchy
from popcube_server.services.rooms.state_at import StatesAt
from popcube_server.services.rooms.timeline_pages import TimelinePages
from popcube_server.services.rooms.visibility import Visibility
from popcube_server.services.rooms.visibility_history import VisibilityHistories
from storage.account_data import AccountDataRepository
from storage.directory import DirectoryRepository
from storage.relations import RelationsRepository
from storage.state_entries import StateEntriesRepository
from storage.stripped_states import StrippedStatesRepository
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.ratelimits import RateLimit

# Of each server: its users' clients go through spaces and directories page by page.
SERVER_LIMIT = RateLimit(per_second=10, burst_count=200)
# Of each user: other servers are asked each time.
JUMP_LIMIT = RateLimit(per_second=1, burst_count=10)


@dataclass(frozen=True, slots=True)
class RemoteReads:
    """What reading rooms needs of other servers: what can be asked of them, and which are in rooms here."""

    queries: RemoteQueries
    servers: RoomServers


@dataclass(frozen=True, slots=True)
class RoomReads:
    """What others use to show rooms to users: sync, search, push."""

    visibility: Visibility
    visibility_histories: VisibilityHistories
    membership_histories: MembershipHistories
    sent: SentTransactions
    aggregations: BundledAggregations
    event_json: EventJson
    event_memberships: EventMemberships
    holes: RoomHoles
    servlets: Sequence[object]


@dataclass(frozen=True, slots=True)
class _Showing:
    """How events look to a user, and which of them: every read goes through this."""

    relations: RelationsRepository
    memberships: MembershipHistories
    visibilities: VisibilityHistories
    visibility: Visibility
    event_memberships: EventMemberships
    sent: SentTransactions
    summaries: RelationSummaries
    aggregations: BundledAggregations
    event_json: EventJson


def build_room_reads(
    core: Core, base: RoomBase, personal: PersonalRules, remote: RemoteReads, history: History
) -> RoomReads:
    showing = _build_showing(core, base, personal)
    directory = DirectoryRepository()
    summaries = RoomSummaries(base.rooms, base.events, core.log, core.server_name)
    public_rooms = PublicRooms(
        core.database, directory, summaries, core.config.directory.enable_room_list_search
    )
    servlets = (
        *_timeline_servlets(core, base, personal, history, showing, directory, public_rooms),
        *_public_room_servlets(core, remote, public_rooms),
        *_summary_servlets(core, base, remote, directory, summaries),
        MutualRoomsEndpoint(MutualRooms(base.user_rooms)),
    )
    return RoomReads(
        showing.visibility,
        showing.visibilities,
        showing.memberships,
        showing.sent,
        showing.aggregations,
        showing.event_json,
        showing.event_memberships,
        history.holes,
        servlets,
    )


def _build_showing(core: Core, base: RoomBase, personal: PersonalRules) -> _Showing:
    database, log, now_ms = core.database, core.log, core.platform.now_ms
    repositories, events = base.repositories, base.events
    relations = RelationsRepository(repositories.events)
    memberships = MembershipHistories(database, repositories.events, base.user_rooms, log)
    visibilities = VisibilityHistories(database, repositories.events, base.rooms, log)
    past = PastViews(database, StateEntriesRepository(), events)
    visibility = Visibility(memberships, visibilities, base.user_rooms, past)
    event_memberships = EventMemberships(memberships, past)
    sent = SentTransactions(log)
    summaries = RelationSummaries(database, relations, log)
    aggregations = BundledAggregations(
        summaries,
        events,
        visibility,
        event_memberships,
        personal,
        EventJson(events, sent, visibility, event_memberships, NoAggregations(), now_ms),
    )
    event_json = EventJson(events, sent, visibility, event_memberships, aggregations, now_ms)
    return _Showing(
        relations,
        memberships,
        visibilities,
        visibility,
        event_memberships,
        sent,
        summaries,
        aggregations,
        event_json,
    )


def _timeline_servlets(
    core: Core,
    base: RoomBase,
    personal: PersonalRules,
    history: History,
    showing: _Showing,
    directory: DirectoryRepository,
    public_rooms: PublicRooms,
) -> Sequence[object]:
    """What is in a room."""
    database, log, events = core.database, core.log, base.events
    relations, visibility, event_json = showing.relations, showing.visibility, showing.event_json
    views = RoomViews(base.user_rooms, showing.memberships, showing.visibilities)
    states = StatesAt(database, base.repositories, base.rooms, events, log)
    pages = TimelinePages(database, base.repositories.events, relations, events, visibility, personal, log)
    read_event = ReadEvent(events, visibility, event_json)
    read_state = ReadState(views, states, event_json)
    history_pages = HistoryPages(pages, history.holes, history.backfill, visibility, core.platform.clock)
    read_messages = ReadMessages(views, history_pages, MembersAt(states, events), event_json, base.places)
    list_threads = ListThreads(
        views,
        database,
        relations,
        events,
        visibility,
        showing.summaries,
        personal,
        event_json,
        log,
        base.places,
    )
    event_at_time = EventAtTime(
        views,
        database,
        base.repositories.events,
        events,
        visibility,
        Elsewhere(history.holes, history.jump_to_time),
        RateLimiter(JUMP_LIMIT, core.platform.now_s),
        core.platform.clock,
    )
    snapshot = TakeRoomSnapshot(
        read_state, read_messages, public_rooms, base.user_rooms, database, AccountDataRepository()
    )
    return (
        Rooms(read_event, read_state, ReadMembers(views, states, event_json, base.places), base.user_rooms),
        MessagePagination(read_messages),
        EventContext(ReadContext(read_event, history_pages, states, event_json, base.places)),
        RelationsEndpoint(ReadRelations(read_event, pages, relations, event_json, base.places)),
        ThreadsList(list_threads),
        RoomAliases(ListAliases(views, database, directory)),
        RoomInitialSync(snapshot),
        RoomEventByTimestamp(event_at_time),
    )


def _public_room_servlets(core: Core, remote: RemoteReads, public_rooms: PublicRooms) -> Sequence[object]:
    """The room directory, for users and for other servers."""
    options = core.config.directory
    serve = ServeDirectory(
        public_rooms,
        options.allow_public_rooms_over_federation,
        RateLimiter(SERVER_LIMIT, core.platform.now_s),
    )
    return (
        ListPublicRooms(
            public_rooms,
            remote.queries.directories,
            core.server_name,
            options.allow_public_rooms_without_auth,
        ),
        PublicRoomsForServers(serve),
    )


def _summary_servlets(
    core: Core,
    base: RoomBase,
    remote: RemoteReads,
    directory: DirectoryRepository,
    summaries: RoomSummaries,
) -> Sequence[object]:
    """What a room looks like from outside, and the rooms of a space."""
    spaces, likely_servers = remote.queries.spaces, LikelyServers(core.database, StrippedStatesRepository())
    aliases = ResolveAnyAlias(
        ResolveAlias(core.database, directory, core.server_name), remote.queries.aliases, core.server_name
    )
    serve = ServeHierarchy(
        summaries, base.rooms, remote.servers, RateLimiter(SERVER_LIMIT, core.platform.now_s)
    )
    return (
        HierarchyForServers(serve),
        SpaceHierarchyEndpoint(
            SpaceHierarchy(summaries, base.user_rooms, spaces, likely_servers, core.platform)
        ),
        RoomSummaryEndpoint(PreviewRoom(summaries, base.user_rooms, aliases, spaces, likely_servers)),
    )
