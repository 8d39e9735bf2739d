"""The generator of forked rooms: deterministic, properly signed, and really forked."""

import random

from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.event import decode_pdu, parse_event
from federation.room_dag.hashes import has_valid_content_hash, signed_bytes
from federation.room_dag.required_signers import required_signers
from federation.room_dag.room_versions import ROOM_VERSIONS
from federation.room_dag.signing import find_signature, verify_bytes
from tests.federation.room_dag.builders import make_signer
from tests.support.forked_rooms import ForkedRoomOptions, make_forked_room


class ForkedRoomsTests(SynchronousTestCase):
    def test_same_seed_makes_the_same_room(self) -> None:
        one, again, other = make_forked_room(3), make_forked_room(3), make_forked_room(4)
        self.assertEqual([event.json for event in one.events], [event.json for event in again.events])
        self.assertEqual(dict(one.state), dict(again.state))
        self.assertNotEqual(one.room_id, other.room_id)
        order = [event.event_id for event in one.shuffled(random.Random(1))]
        self.assertEqual(order, [event.event_id for event in again.shuffled(random.Random(1))])
        self.assertEqual(sorted(order), sorted(event.event_id for event in one.events[1:]))

    def test_events_are_valid_and_signed_by_whom_they_need(self) -> None:
        for version in ROOM_VERSIONS:
            room = make_forked_room(5, ForkedRoomOptions(version=version))
            for event in room.events:
                pdu = decode_pdu(event)
                self.assertEqual(parse_event(pdu, event.rules), event)
                self.assertTrue(has_valid_content_hash(pdu, event.rules))
                for server in required_signers(event):
                    signer = make_signer(server)
                    signature = find_signature(pdu, server, signer.key_id)
                    assert signature is not None
                    verify_bytes(signed_bytes(pdu, event.rules), signature, signer.verify_key)

    def test_rooms_fork_and_everything_happens_in_some(self) -> None:
        rooms = [make_forked_room(seed) for seed in range(40)]
        self.assertEqual({room.version for room in rooms}, set(ROOM_VERSIONS))
        self.assertTrue(any(room.rejected for room in rooms))
        self.assertGreater(sum(len(room.events[-1].prev_events) > 2 for room in rooms), 10)
        accepted = [event for room in rooms for event in room.events if event.event_id not in room.rejected]
        memberships = {event.membership for event in accepted if event.type == "m.room.member"}
        self.assertEqual(memberships, {"join", "leave", "ban", "invite", "knock"})
        rules = {event.content["join_rule"] for event in accepted if event.type == "m.room.join_rules"}
        self.assertEqual(rules, {"public", "invite", "knock", "restricted", "knock_restricted"})
        self.assertTrue(any("join_authorised_via_users_server" in event.content for event in accepted))
