"""What a state knows of its members is kept by what changes, and is the same as if it were counted."""

from hypothesis import given, settings
from hypothesis import strategies as st
from immutables import Map
from twisted.trial.unittest import SynchronousTestCase

from federation.rooms.room_state import EMPTY_STATE, MEMBER, make_state

USERS = [f"@{name}:{server}" for name in "abc" for server in ("one.example", "two.example:8448")]
CHANGES = st.lists(
    st.tuples(st.sampled_from(USERS), st.sampled_from(["join", "leave", "ban", "invite", "knock", None])),
    max_size=30,
)


class RoomStateTests(SynchronousTestCase):
    @settings(derandomize=True, deadline=None)
    @given(CHANGES)
    def test_counts_are_those_of_the_members(self, changes: list[tuple[str, str | None]]) -> None:
        state = EMPTY_STATE
        for number, (user_id, membership) in enumerate(changes):
            if membership is None and user_id not in state.memberships:
                continue
            event_id = None if membership is None else f"${number}"
            state = state.with_entry((MEMBER, user_id), event_id, membership)
        self.assertEqual(state, make_state(Map(state.entries), Map(state.memberships)))
        for server in ("one.example", "two.example:8448"):
            joined = [user for user in state.joined_members() if user.endswith(":" + server)]
            self.assertEqual(state.servers.get(server, 0), len(joined))
            self.assertEqual(state.has_member_of(server), bool(joined))
