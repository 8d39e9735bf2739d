"""Builds what reaches into the history that other servers have."""

from federation.rooms.history.backfill import Backfill
from federation.rooms.history.judge_history import JudgeHistory
from federation.rooms.history.jump_to_time import JumpToTime
from federation.rooms.history.patience import Patience
from federation.rooms.history.place_history import PlaceHistory
from federation.rooms.history.room_holes import RoomHoles
from federation.rooms.receiving.answer_limits import LimitedAnswers
from federation.rooms.receiving.check_pdu import CheckPdus
from federation.rooms.receiving.fetch_missing import FetchMissing
from federation.rooms.receiving.keep_outliers import KeepOutliers
from federation.rooms.receiving.remote import AskServers
from popcube_server.building.core import Core
from popcube_server.building.federation import Federation
from popcube_server.building.rooms import RoomBase
from storage.gaps import GapsRepository
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class History:
    """Where rooms' timelines have holes, and what fills them."""

    holes: RoomHoles
    backfill: Backfill
    jump_to_time: JumpToTime


def build_history(core: Core, base: RoomBase, federation: Federation) -> History:
    database, committer, clock = core.database, core.committer, core.platform.clock
    rooms, events = base.rooms, base.events
    ask, check = AskServers(LimitedAnswers(federation.client)), CheckPdus(federation.verify_events)
    keep = KeepOutliers(events, committer)
    holes = RoomHoles(database, GapsRepository(), core.log)
    patience = Patience(clock)
    place = PlaceHistory(
        rooms,
        events,
        holes,
        FetchMissing(rooms, events, ask, check, keep),
        keep,
        JudgeHistory(rooms),
        patience,
        database,
        committer,
    )
    backfill = Backfill(rooms, events, holes, ask, check, place, patience, committer, clock, core.server_name)
    return History(holes, backfill, JumpToTime(rooms, ask, backfill, patience, core.server_name))
