"""Builds what finds people, and what reports them: searches with their indexes, and users' reports."""

from collections.abc import Sequence

from popcube_server.building.core import Core
from popcube_server.building.room_reads import RoomReads
from popcube_server.building.rooms import RoomBase
from popcube_server.rest.client.report_content import Reports
from popcube_server.rest.client.users import Users
from popcube_server.services.followers.durable_follower import DurableFollower, FollowedLog
from popcube_server.services.rate_limits import RateLimiter
from popcube_server.services.reports.report_content import ReportContent
from popcube_server.services.rooms.room_summaries import RoomSummaries
from popcube_server.services.user_directory.index_users import IndexUsers
from popcube_server.services.user_directory.search_users import SearchUsers
from storage.followers import FollowersRepository
from storage.log import LogRepository
from synapse_like_config.lazy_dataclasses import dataclass

COLLECT_S = 0.25
"""Accounts and rooms that are made one after the other get into the directory together, at most this much later."""


@dataclass(frozen=True, slots=True)
class Search:
    servlets: Sequence[object]
    parts: Sequence[DurableFollower]


def build_search(core: Core, base: RoomBase, reads: RoomReads) -> Search:
    source = FollowedLog(
        core.log, core.database, core.committer, core.platform, LogRepository(), FollowersRepository()
    )
    summaries = RoomSummaries(base.rooms, base.events, core.log, core.server_name)
    index_users = IndexUsers(core.server_name, core.database, core.committer, summaries)
    directory = core.config.profiles.user_directory
    limiter = RateLimiter(core.config.rate_limits.rc_user_directory, core.platform.now_s)
    servlets = (
        Reports(_report_content(core, base, reads)),
        Users(SearchUsers(core.server_name, core.database, directory, limiter)),
    )
    return Search(servlets, (DurableFollower(source, index_users, COLLECT_S),))


def _report_content(core: Core, base: RoomBase, reads: RoomReads) -> ReportContent:
    return ReportContent(
        core.database,
        core.committer,
        base.rooms,
        base.events,
        base.user_rooms,
        reads.visibility,
        RateLimiter(core.config.rate_limits.rc_reports, core.platform.now_s),
        core.platform.now_ms,
        core.server_name,
    )
