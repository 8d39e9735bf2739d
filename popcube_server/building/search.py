"""Builds what finds things and reports them: users' reports."""

from collections.abc import Sequence
from dataclasses import dataclass

from popcube_server.building.core import Core
from popcube_server.building.room_reads import RoomReads
from popcube_server.building.rooms import RoomBase
from popcube_server.rest.client.report_content import Reports
from popcube_server.services.rate_limits import RateLimiter
from popcube_server.services.reports.report_content import ReportContent


@dataclass(frozen=True, slots=True)
class Search:
    servlets: Sequence[object]


def build_search(core: Core, base: RoomBase, reads: RoomReads) -> Search:
    return Search((Reports(_report_content(core, base, reads)),))


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
