"""Specification module report_content."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Call, endpoint
from popcube_server.rest.parse import find_string
from popcube_server.services.reports.report_content import Complaint, ReportContent


class Reports:
    def __init__(self, report_content: ReportContent) -> None:
        self._report_content = report_content

    @endpoint("POST", "/_matrix/client/v3/rooms/{room_id}/report")
    async def room(self, call: Call) -> Mapping[str, Any]:
        await self._report_content.room(call.requester, call.path["room_id"], _complaint(call))
        return {}

    @endpoint("POST", "/_matrix/client/v3/rooms/{room_id}/report/{event_id}")
    async def event(self, call: Call) -> Mapping[str, Any]:
        path = call.path
        complaint = Complaint(_complaint(call).reason, _score(call.body))
        await self._report_content.event(call.requester, path["room_id"], path["event_id"], complaint)
        return {}

    @endpoint("POST", "/_matrix/client/v3/users/{user_id}/report")
    async def user(self, call: Call) -> Mapping[str, Any]:
        await self._report_content.user(call.requester, call.path["user_id"], _complaint(call))
        return {}


def _complaint(call: Call) -> Complaint:
    # NOTSPEC: `reason` is required for rooms and users, but may be blank: clients leave it out, and nothing is won
    # by refusing them.
    return Complaint(find_string(call.body, "reason"))


def _score(body: Mapping[str, Any]) -> int | None:
    # COMPAT: versions up to 1.17 have a score from -100 to 0. It is gone since, so whatever else it is is ignored.
    score = body.get("score")
    return score if isinstance(score, int) and not isinstance(score, bool) and -100 <= score <= 0 else None
