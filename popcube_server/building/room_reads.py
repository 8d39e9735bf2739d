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


def build_room_reads(
    core: Core, base: RoomBase, personal: PersonalRules, remote: RemoteReads, history: History
) -> RoomReads:
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

    views = RoomViews(base.user_rooms, memberships, visibilities)
    states = StatesAt(database, repositories, base.rooms, events, log)
    pages = TimelinePages(database, repositories.events, relations, events, visibility, personal, log)
    read_event = ReadEvent(events, visibility, event_json)
    read_state = ReadState(views, states, event_json)
    directory = DirectoryRepository()
    room_summaries = RoomSummaries(base.rooms, events, log, core.server_name)
    aliases = ResolveAnyAlias(
        ResolveAlias(database, directory, core.server_name), remote.queries.aliases, core.server_name
    )
    likely_servers = LikelyServers(database, StrippedStatesRepository())
    options = core.config.directory
    public_rooms = PublicRooms(database, directory, room_summaries, options.enable_room_list_search)
    history_pages = HistoryPages(pages, history.holes, history.backfill, visibility, core.platform.clock)
    read_messages = ReadMessages(views, history_pages, MembersAt(states, events), event_json, base.places)
    servlets = (
        Rooms(
            read_event,
            read_state,
            ReadMembers(views, states, event_json, base.places),
            base.user_rooms,
        ),
        MessagePagination(read_messages),
        EventContext(ReadContext(read_event, history_pages, states, event_json, base.places)),
        RelationsEndpoint(ReadRelations(read_event, pages, relations, event_json, base.places)),
        ThreadsList(
            ListThreads(
                views,
                database,
                relations,
                events,
                visibility,
                summaries,
                personal,
                event_json,
                log,
                base.places,
            )
        ),
        ListPublicRooms(
            public_rooms,
            remote.queries.directories,
            core.server_name,
            options.allow_public_rooms_without_auth,
        ),
        PublicRoomsForServers(
            ServeDirectory(
                public_rooms,
                options.allow_public_rooms_over_federation,
                RateLimiter(SERVER_LIMIT, core.platform.now_s),
            )
        ),
        HierarchyForServers(
            ServeHierarchy(
                room_summaries, base.rooms, remote.servers, RateLimiter(SERVER_LIMIT, core.platform.now_s)
            )
        ),
        SpaceHierarchyEndpoint(
            SpaceHierarchy(
                room_summaries, base.user_rooms, remote.queries.spaces, likely_servers, core.platform
            )
        ),
        RoomSummaryEndpoint(
            PreviewRoom(room_summaries, base.user_rooms, aliases, remote.queries.spaces, likely_servers)
        ),
        RoomAliases(ListAliases(views, database, directory)),
        MutualRoomsEndpoint(MutualRooms(base.user_rooms)),
        RoomInitialSync(
            TakeRoomSnapshot(
                read_state, read_messages, public_rooms, base.user_rooms, database, AccountDataRepository()
            )
        ),
        RoomEventByTimestamp(
            EventAtTime(
                views,
                database,
                repositories.events,
                events,
                visibility,
                Elsewhere(history.holes, history.jump_to_time),
                RateLimiter(JUMP_LIMIT, core.platform.now_s),
                core.platform.clock,
            )
        ),
    )
    return RoomReads(
        visibility,
        visibilities,
        memberships,
        sent,
        aggregations,
        event_json,
        event_memberships,
        history.holes,
        servlets,
    )
