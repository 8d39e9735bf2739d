"""Builds what reacts to the log by itself in rooms, and the cleaning that is done now and then."""

from collections.abc import Sequence

from popcube_server.building.core import Core
from popcube_server.building.rooms import RoomBase, Rooms
from popcube_server.services.followers.durable_follower import DurableFollower, FollowedLog, LogWork
from popcube_server.services.periodic import Periodic
from popcube_server.services.push.push_rules import PushRules
from popcube_server.services.rooms.followers.auto_join import AutoJoin
from popcube_server.services.rooms.followers.carry_over import CarryOver
from popcube_server.services.rooms.followers.forget_when_left import ForgetWhenLeft
from popcube_server.services.rooms.followers.guests_leave import GuestsLeave
from popcube_server.services.rooms.followers.leave_when_deactivated import LeaveWhenDeactivated
from popcube_server.services.rooms.followers.propagate_profile import PropagateProfile
from popcube_server.services.rooms.followers.take_back_repeats import TakeBackRepeats
from popcube_server.services.rooms.prune_redacted import PruneRedacted
from popcube_server.services.rooms.transactions import CLEANING_INTERVAL_S
from storage.followers import FollowersRepository
from storage.log import LogRepository
from storage.redacted_events import RedactedEventsRepository
from synapse_like_config.lazy_dataclasses import dataclass

PRUNING_INTERVAL_S = 300.0


@dataclass(frozen=True, slots=True)
class Followers:
    parts: Sequence[DurableFollower | Periodic]


def build_followers(core: Core, base: RoomBase, rooms: Rooms, push_rules: PushRules) -> Followers:
    source = FollowedLog(
        core.log, core.database, core.committer, core.platform, LogRepository(), FollowersRepository()
    )
    followers = [DurableFollower(source, work) for work in _works(core, base, rooms, push_rules)]
    return Followers([*followers, *_cleaning(core, rooms)])


def _works(core: Core, base: RoomBase, rooms: Rooms, push_rules: PushRules) -> Sequence[LogWork]:
    config, database, committer, server_name = core.config, core.database, core.committer, core.server_name
    works: list[LogWork] = [
        PropagateProfile(rooms.writer, base.rooms, base.events, base.user_rooms, rooms.profiles),
        LeaveWhenDeactivated(rooms.memberships, base.user_rooms),
        GuestsLeave(base.rooms, base.events, database, rooms.memberships, server_name),
        TakeBackRepeats(base.events, rooms.writer),
        CarryOver(base.rooms, base.events, base.user_rooms, push_rules, database, committer, server_name),
    ]
    if config.auto_join.auto_join_rooms:
        works.append(
            AutoJoin(
                config.auto_join,
                config.rooms.default_room_version,
                server_name,
                database,
                base.rooms,
                base.events,
                base.user_rooms,
                rooms.unlimited_memberships,
                rooms.create_room,
                rooms.aliases,
            )
        )
    if config.rooms.forget_rooms_on_leave:
        works.append(ForgetWhenLeft(base.events, base.user_rooms, committer, server_name))
    return works


def _cleaning(core: Core, rooms: Rooms) -> Sequence[Periodic]:
    parts = [Periodic(core.platform, "cleaning transactions", CLEANING_INTERVAL_S, rooms.transactions.clean)]
    kept_ms = core.config.rooms.redaction_retention_period_ms
    if kept_ms is not None:
        prune = PruneRedacted(
            core.database, RedactedEventsRepository(), core.committer, core.platform, kept_ms
        )
        parts.append(Periodic(core.platform, "pruning redacted events", PRUNING_INTERVAL_S, prune.run))
    return parts
