"""Builds rooms: the engine, and what users do in them."""

from collections.abc import Sequence

from federation.identity.identity_servers import IdentityServers
from federation.rooms.create_room import CreateRoom as AppendRoom
from federation.rooms.event_store import EventStore
from federation.rooms.joining.joins_under_way import JoinsUnderWay
from federation.rooms.live_rooms import LiveRooms, RoomRepositories
from federation.rooms.outcomes import PushOutcomes
from federation.rooms.policy.send_recommended import SendRecommended
from federation.rooms.send_event import Author, SendEvent
from popcube_server.building.core import Core
from popcube_server.rest.client.create_room import CreateRoomEndpoint
from popcube_server.rest.client.directory import Directory
from popcube_server.rest.client.membership import Membership
from popcube_server.rest.client.room_send import RoomSend
from popcube_server.rest.client.room_state import RoomStateEvents
from popcube_server.rest.client.room_upgrades import RoomUpgrades
from popcube_server.services.rate_limits import RateLimiter
from popcube_server.services.remote_queries.remote_aliases import RemoteAliases
from popcube_server.services.rooms.append import RoomWriter
from popcube_server.services.rooms.change_membership import ChangeMembership
from popcube_server.services.rooms.check_canonical_alias import CheckCanonicalAlias
from popcube_server.services.rooms.create_room import CreateRoom, RoomMakers
from popcube_server.services.rooms.edit_directory import EditDirectory
from popcube_server.services.rooms.forget_room import ForgetRooms
from popcube_server.services.rooms.invite_by_address import InviteByAddress
from popcube_server.services.rooms.invite_permission import InvitePermission
from popcube_server.services.rooms.membership_limits import MembershipLimits
from popcube_server.services.rooms.profile_cache import ProfileCache
from popcube_server.services.rooms.redaction_permission import RedactionPermission
from popcube_server.services.rooms.remote_rooms import RemoteRooms
from popcube_server.services.rooms.resolve_alias import ResolveAlias
from popcube_server.services.rooms.resolve_any_alias import ResolveAnyAlias
from popcube_server.services.rooms.restricted_joins import RestrictedJoins
from popcube_server.services.rooms.send_message import Annotations, SendMessage
from popcube_server.services.rooms.send_state import SendState
from popcube_server.services.rooms.suspensions import Suspensions
from popcube_server.services.rooms.transactions import Transactions
from popcube_server.services.rooms.upgrade_room import UpgradeRoom
from popcube_server.services.rooms.user_rooms import UserRooms
from popcube_server.services.sync.places import Places
from popcube_server.services.sync.tokens import ONLY_SITE
from storage.account_data import AccountDataRepository
from storage.directory import DirectoryRepository
from storage.event_rows import EventsRepository
from storage.memberships import MembershipsRepository
from storage.profiles import ProfilesRepository
from storage.relations import RelationsRepository
from storage.rooms import RoomsRepository
from storage.snapshots import SnapshotsRepository
from storage.transactions import TransactionsRepository
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.ratelimits import RateLimit

USER_ROOMS_CACHE_SIZE = 20_000
NO_LIMIT = RateLimit(per_second=1e9, burst_count=1e9)


@dataclass(frozen=True, slots=True)
class RoomBase:
    """What reads rooms; built first, since push rules need it and the engine needs push rules."""

    repositories: RoomRepositories
    events: EventStore
    rooms: LiveRooms
    user_rooms: UserRooms
    joins: JoinsUnderWay
    places: Places
    """What clients' tokens mean in this site's log."""


@dataclass(frozen=True, slots=True)
class RoomNeeds:
    """What rooms use of other areas."""

    outcomes: PushOutcomes
    suspensions: Suspensions
    remote: RemoteRooms
    remote_aliases: RemoteAliases
    send_recommended: SendRecommended
    identity: IdentityServers


@dataclass(frozen=True, slots=True)
class Rooms:
    """What others use of rooms."""

    send_event: SendEvent
    writer: RoomWriter
    profiles: ProfileCache
    memberships: ChangeMembership
    unlimited_memberships: ChangeMembership
    """For what the server does by itself."""
    create_room: CreateRoom
    aliases: ResolveAlias
    transactions: Transactions
    membership_limits: MembershipLimits
    servlets: Sequence[object]


def build_room_base(core: Core) -> RoomBase:
    repositories = RoomRepositories(
        RoomsRepository(), EventsRepository(), SnapshotsRepository(), MembershipsRepository()
    )
    events = EventStore(core.database, repositories.events, core.log, core.config.caches.events)
    core.metrics.cache("events", lambda: len(events), lambda: events.hits, lambda: events.misses)
    rooms = LiveRooms(core.database, repositories, events, core.log, core.config.popcube.memory.live_rooms)
    core.metrics.cache("rooms", lambda: len(rooms), lambda: rooms.hits, lambda: rooms.loads)
    user_rooms = UserRooms(core.database, repositories.memberships, rooms, core.log, USER_ROOMS_CACHE_SIZE)
    log_id = ONLY_SITE if core.sites is None else core.sites.log_id
    places = Places(log_id, core.database, core.log, core.platform)
    return RoomBase(repositories, events, rooms, user_rooms, JoinsUnderWay(core.platform.clock), places)


@dataclass(frozen=True, slots=True)
class _Memberships:
    """How memberships change: as users do it, and as the server does by itself."""

    permission: InvitePermission
    limits: MembershipLimits
    of_users: ChangeMembership
    unlimited: ChangeMembership


def build_rooms(core: Core, base: RoomBase, needs: RoomNeeds) -> Rooms:
    config, database, committer = core.config, core.database, core.committer
    limits, suspensions = config.rate_limits, needs.suspensions
    author = Author(core.signer, core.platform.now_ms, core.platform.random_letters)
    send_event = SendEvent(base.rooms, base.events, committer, needs.outcomes, author)
    append_room = AppendRoom(base.rooms, base.events, committer, send_event, author)
    writer = RoomWriter(needs.send_recommended)
    directory = DirectoryRepository()
    aliases = ResolveAlias(database, directory, core.server_name)
    any_aliases = ResolveAnyAlias(aliases, needs.remote_aliases, core.server_name)
    profiles = ProfileCache(database, ProfilesRepository(), core.log)
    memberships = _build_memberships(core, base, needs, writer, profiles)
    transactions = Transactions(database, TransactionsRepository(), committer, core.platform, core.log)
    # One bucket for messages and state, and one for rooms however they come about.
    message_limiter, room_limiter = _limiter(core, limits.rc_message), _limiter(core, limits.rc_room_creation)
    send_message = SendMessage(
        writer,
        transactions,
        Annotations(database, RelationsRepository()),
        RedactionPermission(base.rooms, base.events),
        suspensions,
        message_limiter,
    )
    by_address = InviteByAddress(
        needs.identity,
        memberships.of_users,
        writer,
        base.rooms,
        base.events,
        memberships.permission,
        suspensions,
        _limiter(core, limits.rc_third_party_invite),
    )
    makers = RoomMakers(
        memberships.unlimited,
        by_address,
        memberships.limits,
        profiles,
        aliases,
        memberships.permission,
        suspensions,
    )
    create_room = CreateRoom(append_room, makers, room_limiter, config.rooms, core.server_name)
    upgrade_room = UpgradeRoom(
        append_room, writer, base.rooms, base.events, database, directory, profiles, suspensions, room_limiter
    )
    edit_directory = EditDirectory(
        base.rooms, base.events, writer, aliases, committer, config.directory, core.server_name
    )
    canonical_alias = CheckCanonicalAlias(base.rooms, base.events, any_aliases)
    send_state = SendState(writer, memberships.of_users, canonical_alias, suspensions, message_limiter)
    servlets = (
        CreateRoomEndpoint(create_room),
        Membership(memberships.of_users, by_address, any_aliases, ForgetRooms(base.user_rooms, committer)),
        RoomSend(send_message),
        RoomStateEvents(send_state),
        RoomUpgrades(upgrade_room),
        Directory(any_aliases, edit_directory),
    )
    return Rooms(
        send_event,
        writer,
        profiles,
        memberships.of_users,
        memberships.unlimited,
        create_room,
        aliases,
        transactions,
        memberships.limits,
        servlets,
    )


def _build_memberships(
    core: Core, base: RoomBase, needs: RoomNeeds, writer: RoomWriter, profiles: ProfileCache
) -> _Memberships:
    limits, account_data = core.config.rate_limits, AccountDataRepository()

    def change_membership(permission: InvitePermission, limits: MembershipLimits) -> ChangeMembership:
        return ChangeMembership(
            writer,
            base.rooms,
            base.events,
            profiles,
            RestrictedJoins(base.rooms, base.events, base.user_rooms, core.server_name),
            needs.suspensions,
            permission,
            limits,
            needs.remote,
            base.user_rooms,
            core.server_name,
        )

    permission = InvitePermission(core.database, account_data, core.config.rooms.block_non_admin_invites)
    membership_limits = MembershipLimits(
        _limiter(core, limits.rc_joins.local),
        _limiter(core, limits.rc_joins.remote),
        _limiter(core, limits.rc_joins_per_room),
        _limiter(core, limits.rc_invites.per_room),
        _limiter(core, limits.rc_invites.per_user),
        _limiter(core, limits.rc_invites.per_issuer),
    )
    unlimited = change_membership(
        InvitePermission(core.database, account_data, only_admins_invite=False),
        MembershipLimits(*(_limiter(core, NO_LIMIT) for _ in range(6))),
    )
    return _Memberships(
        permission, membership_limits, change_membership(permission, membership_limits), unlimited
    )


def _limiter(core: Core, limit: RateLimit) -> RateLimiter:
    return RateLimiter(limit, core.platform.now_s)
