"""Does it work at all: a room, a join, a message in either direction."""

from tests.integration.federation.pairs import (
    OursOnPostgresWithSynapse,
    OursOnSqliteWithSynapse,
    Scenarios,
    TwoOfOurs,
)
from tests.integration.federation.peers import Peer, eventually


class HandshakeScenarios(Scenarios):
    def test_a_room_is_joined_and_messages_go_both_ways(self) -> None:
        for near, far in self.both_ways():
            self.check_messages(near, far)

    def check_messages(self, near: Peer, far: Peer) -> None:
        alice, bob = near.register("alice"), far.register("bob")
        room_id = self.given_shared_room(alice, bob)
        alice.send_text(room_id, "from the creator")
        eventually(lambda: "from the creator" in bob.texts(room_id), "the message arrives")
        bob.send_text(room_id, "from the guest")
        eventually(lambda: "from the guest" in alice.texts(room_id), "the answer arrives")
        self.settle(room_id, alice, bob)


class HandshakeOnSqliteWithSynapseTests(OursOnSqliteWithSynapse, HandshakeScenarios):
    pass


class HandshakeOnPostgresWithSynapseTests(OursOnPostgresWithSynapse, HandshakeScenarios):
    pass


class HandshakeBetweenOursTests(TwoOfOurs, HandshakeScenarios):
    pass
