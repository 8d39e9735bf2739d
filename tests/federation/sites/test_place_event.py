"""Which way an event of a peer takes into its room."""

from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from federation.rooms.accept_event import Verdict
from federation.sites.checked_event import CheckedEvent
from federation.sites.peer_verdicts import PeerVerdicts
from federation.sites.place_event import PlaceSiteEvent

OWN = "one.example"
DEPTH = 9


class Peer:
    """`PeerRooms` that writes down what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.verdicts = PeerVerdicts()
        self.accept = self.fetch = self.receive_pdu = self

    @property
    def receive(self) -> Any:
        return SimpleNamespace(receive=self._receive)

    async def _receive(self, site: str, event: Any) -> Verdict:
        self.asked.append("receive")
        return Verdict.ACCEPTED

    async def state_before(self, site: str, event: Any) -> dict[Any, str]:
        return {}

    async def accept_return(self, event: Any, state: Any) -> Verdict:
        self.asked.append("return")
        return Verdict.ACCEPTED


class Rooms:
    """One room, which all of this server have left."""

    async def get(self, room_id: str) -> Any:
        return SimpleNamespace(depth=DEPTH, committed=SimpleNamespace(has_member_of=lambda name: False))


class Hold:
    """Nothing is kept."""

    def is_unwritable(self, placing: CheckedEvent) -> bool:
        return False

    def placed(self, site: str, placing: CheckedEvent) -> None:
        return


class ComingBackTests(SynchronousTestCase):
    def place_join(self, depth: int) -> list[str]:
        peer = Peer()
        everything: Any = SimpleNamespace()
        place = PlaceSiteEvent(
            cast(Any, {"anna": peer}), cast(Any, Rooms()), everything, everything, cast(Any, Hold()), OWN
        )
        event: Any = SimpleNamespace(
            event_id="$join",
            room_id="!room:two.example",
            type="m.room.member",
            membership="join",
            state_key="@alice:one.example",
            depth=depth,
        )
        self.successResultOf(Deferred.fromCoroutine(place.place("anna", CheckedEvent(event, False))))
        return peer.asked

    def test_who_comes_back_into_a_room_begins_it_anew(self) -> None:
        self.assertEqual(self.place_join(DEPTH + 2), ["return"])

    def test_a_join_that_comes_late_does_not_undo_that_all_have_left_again(self) -> None:
        self.assertEqual(self.place_join(DEPTH - 1), ["receive"])
