"""Builds rooms over federation: what other servers send and ask, and our users in rooms of theirs."""

from collections.abc import Sequence
from dataclasses import replace

from federation.rooms.accept_event import AcceptEvent
from federation.rooms.accept_run import AcceptRun
from federation.rooms.joining.handshake import Handshake
from federation.rooms.joining.invite_user import InviteUser
from federation.rooms.joining.join_room import JoinRoom
from federation.rooms.joining.join_with_help import JoinWithHelp
from federation.rooms.joining.leave_room import KnockRoom, LeaveRemoteRoom
from federation.rooms.outcomes import PushOutcomes
from federation.rooms.policy.ask_policy_server import Patience, PolicyServers
from federation.rooms.policy.send_recommended import SendRecommended
from federation.rooms.read_graph import ReadGraph
from federation.rooms.receiving.answer_limits import LimitedAnswers
from federation.rooms.receiving.check_pdu import CheckPdus
from federation.rooms.receiving.fetch_missing import FetchMissing
from federation.rooms.receiving.keep_outliers import KeepOutliers
from federation.rooms.receiving.receive_pdu import FETCHING_AT_ONCE, FETCHING_OF_ONE, ReceivePdu
from federation.rooms.receiving.remote import AskServers
from federation.rooms.send_event import Author, SendEvent
from federation.rooms.take_room import TakeRoom
from federation.transport.urgent_client import UrgentClient
from federation.turns import FairTurns
from popcube_server.building.core import Core
from popcube_server.building.federation import Federation
from popcube_server.building.rooms import RoomBase
from popcube_server.rest.federation.events import RoomEvents
from popcube_server.rest.federation.memberships import Invites, Joins
from popcube_server.rest.federation.third_party_invites import ThirdPartyInvites
from popcube_server.rest.federation.transactions import Transactions
from popcube_server.services.federation.authorize_joins import AuthorizeJoins
from popcube_server.services.federation.exchange_invites import AcceptBinding, ExchangeInvites
from popcube_server.services.federation.expected_rooms import ExpectedRooms
from popcube_server.services.federation.inbound_queue import InboundQueue
from popcube_server.services.federation.invite_door import InviteDoor
from popcube_server.services.federation.local_users import InvitableUsers
from popcube_server.services.federation.make_membership import MakeMembership
from popcube_server.services.federation.place_pdu import PlacePdu
from popcube_server.services.federation.receive_invite import ReceiveInvite
from popcube_server.services.federation.receive_transaction import EduReceiver, ReceiveTransaction
from popcube_server.services.federation.retract_invite import RetractInvite
from popcube_server.services.federation.room_access import RoomAccess
from popcube_server.services.federation.serve_rooms import ServeRooms
from popcube_server.services.federation.server_visibility import ServerVisibility
from popcube_server.services.federation.take_membership import TakeMembership
from popcube_server.services.periodic import Periodic
from popcube_server.services.rate_limits import RateLimiter
from popcube_server.services.rooms.append import RoomWriter
from popcube_server.services.rooms.invite_permission import InvitePermission
from popcube_server.services.rooms.membership_limits import MembershipLimits
from popcube_server.services.rooms.remote_rooms import FederatedRooms
from popcube_server.services.sync.heroes import Heroes
from popcube_server.services.sync.stripped_state import DEFAULT_TYPES, RoomStrippedState
from storage.account_data import AccountDataRepository
from storage.accounts import AccountsRepository
from storage.inbound_pdus import InboundPdusRepository
from storage.received_transactions import ReceivedTransactionsRepository
from storage.state_entries import StateEntriesRepository
from storage.stripped_states import StrippedStatesRepository
from synapse_like_config.lazy_dataclasses import dataclass

HEROES_CACHE_SIZE = 1000
CLEANING_INTERVAL_S = 3600.0
POLICY_TIMEOUT_S = 10.0
NEWS_OF_A_ROOM_S = 1.0
"""How long what other servers say of a room that another site may just have made or joined waits for it."""
"""Somebody waits for each event that a policy server is asked about."""


@dataclass(frozen=True, slots=True)
class RemoteRooms:
    """Rooms of other servers: `rooms` is for our users' memberships, the rest for what comes in."""

    rooms: FederatedRooms
    check: CheckPdus
    receive_pdu: ReceivePdu
    accept_run: AcceptRun
    send_event: SendEvent
    send_recommended: SendRecommended
    policy: PolicyServers


@dataclass(frozen=True, slots=True)
class InboundRooms:
    """What other servers send and ask."""

    servlets: Sequence[object]
    parts: Sequence[InboundQueue | Periodic]


def build_remote_rooms(
    core: Core, base: RoomBase, federation: Federation, outcomes: PushOutcomes
) -> RemoteRooms:
    """Comes before what users do in rooms."""
    database, committer, platform = core.database, core.committer, core.platform
    rooms, events, client = base.rooms, base.events, federation.client
    check = CheckPdus(federation.verify_events)
    keep = KeepOutliers(events, committer)
    policy = PolicyServers(
        rooms,
        events,
        client,
        Patience(
            replace(client.urgent, timeout_s=POLICY_TIMEOUT_S),
            replace(client.waiting, timeout_s=POLICY_TIMEOUT_S),
        ),
    )
    accept = AcceptEvent(rooms, events, database, committer, outcomes, policy)
    author = Author(core.signer, platform.now_ms, platform.random_letters)
    send_event = SendEvent(rooms, events, committer, outcomes, author)
    receive_pdu = ReceivePdu(
        accept,
        FetchMissing(rooms, events, AskServers(LimitedAnswers(client)), check, keep),
        FairTurns(FETCHING_AT_ONCE, FETCHING_OF_ONE),
        platform.now_ms,
    )
    urgent = UrgentClient(client)
    handshake = Handshake(urgent, core.signer, platform.now_ms, platform.random_letters)
    remote = FederatedRooms(
        rooms,
        JoinRoom(
            urgent,
            handshake,
            check,
            rooms,
            events,
            TakeRoom(rooms, events, committer),
            accept,
            keep,
            base.joins,
            core.server_name,
        ),
        JoinWithHelp(urgent, handshake, check, receive_pdu, core.server_name),
        KnockRoom(urgent, handshake, rooms, database, committer, core.server_name),
        LeaveRemoteRoom(urgent, handshake, events, committer, core.signer),
        InviteUser(
            urgent,
            send_event,
            rooms,
            events,
            check,
            accept,
            policy,
            core.config.rooms.room_prejoin_state.additional_event_types,
        ),
        database,
        StrippedStatesRepository(),
        core.server_name,
    )
    send_recommended = SendRecommended(send_event, accept, policy, rooms, events, platform.now_ms)
    accept_run = AcceptRun(rooms, events, committer, outcomes)
    return RemoteRooms(remote, check, receive_pdu, accept_run, send_event, send_recommended, policy)


def build_inbound_rooms(
    core: Core,
    base: RoomBase,
    federation: Federation,
    remote: RemoteRooms,
    writer: RoomWriter,
    limits: MembershipLimits,
    edus: EduReceiver,
) -> InboundRooms:
    """Comes after what takes EDUs."""
    database, committer, platform = core.database, core.committer, core.platform
    rooms, events = base.rooms, base.events
    patience_s = 0.0 if core.sites is None else NEWS_OF_A_ROOM_S
    expected = ExpectedRooms(core.server_name, rooms, core.log, platform, patience_s)
    access = RoomAccess(expected, events, core.server_name)
    authorize = AuthorizeJoins(rooms, events, core.server_name)
    graph = ReadGraph(database, rooms, events)
    queue, receive = _build_receiving(core, base, federation, remote, expected, access, edus)
    visibility = ServerVisibility(database, StateEntriesRepository(), rooms, events)
    serve = ServeRooms(access, graph, visibility, events, database, base.repositories.events)
    take = TakeMembership(
        access,
        authorize,
        rooms,
        events,
        graph,
        federation.verify_events,
        remote.receive_pdu,
        _stripped_state(core, base),
        Heroes(database, base.repositories.memberships, events, HEROES_CACHE_SIZE),
        committer,
        core.signer,
    )
    exchange = ExchangeInvites(
        access, rooms, events, federation.identity, remote.rooms, writer, limits, committer, core.server_name
    )
    servlets = (
        Transactions(receive),
        RoomEvents(serve, platform, core.server_name),
        Joins(MakeMembership(access, authorize, remote.send_event), take, core.server_name),
        *_invite_servlets(core, base, federation, remote, access, exchange, limits),
    )
    clean = Periodic(platform, "Forgetting transactions", CLEANING_INTERVAL_S, receive.clean)
    return InboundRooms(servlets, (queue, clean))


def _build_receiving(
    core: Core,
    base: RoomBase,
    federation: Federation,
    remote: RemoteRooms,
    expected: ExpectedRooms,
    access: RoomAccess,
    edus: EduReceiver,
) -> tuple[InboundQueue, ReceiveTransaction]:
    """What other servers send in transactions."""
    database, committer, numbers = core.database, core.committer, federation.metrics
    retract = RetractInvite(
        database,
        base.repositories.rooms,
        base.repositories.memberships,
        StrippedStatesRepository(),
        base.events,
        remote.check,
        AskServers(LimitedAnswers(federation.client)),
        committer,
        core.server_name,
    )
    place = PlacePdu(
        base.rooms, access, remote.check, remote.receive_pdu, remote.accept_run, retract, core.server_name
    )
    queue = InboundQueue(place, database, InboundPdusRepository(), committer, core.platform, numbers)
    numbers.watch("inbound_pdus", "PDUs of other servers that are not worked off yet.", lambda: queue.waiting)
    numbers.watch("inbound_staged_pdus", "Of these the ones that were answered.", lambda: queue.staged)
    numbers.watch("inbound_origins", "Servers that have PDUs waiting.", lambda: queue.origins)
    receive = ReceiveTransaction(
        base.rooms,
        expected,
        queue,
        retract,
        edus,
        database,
        ReceivedTransactionsRepository(),
        committer,
        core.platform,
        numbers,
    )
    return queue, receive


def _invite_servlets(
    core: Core,
    base: RoomBase,
    federation: Federation,
    remote: RemoteRooms,
    access: RoomAccess,
    exchange: ExchangeInvites,
    limits: MembershipLimits,
) -> Sequence[object]:
    """Invites of our users by others, also of those whom only an identity server knows."""
    permission = InvitePermission(core.database, AccountDataRepository(), only_admins_invite=False)
    users = InvitableUsers(core.database, AccountsRepository(), permission)
    invites = ReceiveInvite(
        base.rooms,
        remote.check,
        federation.verify_events,
        users,
        InviteDoor(limits, core.config.rooms.block_non_admin_invites),
        access,
        core.database,
        base.repositories.events,
        core.committer,
        core.signer,
    )
    third_party = ThirdPartyInvites(
        exchange,
        AcceptBinding(users, base.rooms, exchange, federation.client, core.server_name),
        RateLimiter(core.config.rate_limits.rc_third_party_invite, core.platform.now_s),
    )
    return Invites(invites), third_party


def _stripped_state(core: Core, base: RoomBase) -> RoomStrippedState:
    prejoin = core.config.rooms.room_prejoin_state
    types = () if prejoin.disable_default_event_types else DEFAULT_TYPES
    return RoomStrippedState(base.events, types, prejoin.additional_event_types)
