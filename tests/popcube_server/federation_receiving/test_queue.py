"""What was answered with success is there in the end; what is slow holds up nobody else."""

from typing import Any
from unittest.mock import patch

import orjson
from twisted.internet.defer import Deferred

from popcube_server.services.federation import inbound_queue
from popcube_server.services.federation.fair_shares import FairShares, ShareLimits
from storage.inbound_pdus import InboundPdusRepository
from tests.popcube_server.federation_receiving.far_server import (
    V1,
    FarRoom,
    ReceivingCase,
    found,
    silence,
)
from tests.popcube_server.server_case import ONE

MISSING = f"{V1}get_missing_events"


class QueueTests(ReceivingCase):
    def on_disk(self) -> int:
        database = self.organisations[ONE].core.database
        return len(database.read_now(lambda tx: InboundPdusRepository().get_all(tx, 1000)))

    def given_gap(self, room: FarRoom) -> tuple[Any, Any]:
        """An event that was never sent, and one that stands on it."""
        hidden = room.build()
        return hidden, room.build(prev=[hidden])

    def tell(self, room: FarRoom, *events: Any) -> None:
        """From now on the far server answers with these."""
        answer = {"events": [orjson.loads(event.json) for event in events]}
        room.far.answers[MISSING] = lambda request: found(answer)

    def test_results_are_given_per_event(self) -> None:
        room = self.given_far_room()
        good = room.build()
        wrong = room.build(sender="@frank:far.example")
        results = self.results(self.far, "1", [good, wrong, {"room_id": room.room_id}, None])
        self.assertEqual(results[good.event_id], {})
        self.assertIn("error", results[wrong.event_id])
        self.assertEqual(len(results), 2)
        self.assertEqual(self.on_disk(), 0)

    def test_slow_room_is_answered_soon_and_comes_in_later(self) -> None:
        slow, quick = self.given_far_room(), self.given_far_room()
        hidden, late = self.given_gap(slow)
        self.far.answers[MISSING] = silence
        pending = self.begin_send(self.far, "1", [late, quick.build()])
        # The other room was not held up, although the transaction is not answered yet.
        self.assertEqual(self.bodies(quick.room_id), ["number 1"])
        self.assert_waiting(pending)
        self.clock.advance(5)
        answer = self.ok(self.finish(pending))["pdus"]
        self.assertEqual(answer[late.event_id], {})
        self.assertEqual(self.on_disk(), 1)
        # As long as the room is behind, nobody waits for it.
        later = slow.build(prev=[late])
        self.assertEqual(self.results(self.far, "2", [later, quick.build()])[later.event_id], {})
        self.assertEqual(self.bodies(quick.room_id), ["number 1", "number 2"])
        self.assertEqual(self.on_disk(), 2)
        self.tell(slow, hidden)
        self.wait(1500, step=30)
        self.assertEqual(self.bodies(slow.room_id), ["number 1", "number 2", "number 3"])
        self.assertEqual(self.on_disk(), 0)

    def test_receipt_waits_for_its_event_that_comes_beside_it(self) -> None:
        room = self.given_far_room()
        hidden, late = self.given_gap(room)
        answer: Deferred[Any] = Deferred()
        self.far.answers[MISSING] = lambda request: answer
        read = {self.far.user: {"data": {"ts": 1}, "event_ids": [late.event_id]}}
        receipt = {"edu_type": "m.receipt", "content": {room.room_id: {"m.read": read}}}
        pending = self.begin_send(self.far, "1", [late], [receipt])
        answer.callback(found({"events": [orjson.loads(hidden.json)]}))
        self.assertEqual(self.ok(self.finish(pending))["pdus"], {late.event_id: {}})
        synced = self.ok(self.get("/_matrix/client/v3/sync", self.alice))["rooms"]["join"][room.room_id]
        self.assertIn(
            late.event_id, [key for event in synced["ephemeral"]["events"] for key in event["content"]]
        )

    def test_slow_server_holds_up_no_other_server_in_the_same_room(self) -> None:
        room = self.given_far_room()
        other = self.given_far("other.example")
        theirs = self.given_far_join(other, room.room_id)
        _, late = self.given_gap(room)
        self.far.answers[MISSING] = silence
        pending = self.begin_send(self.far, "1", [late])
        quick = theirs.build()
        self.assertEqual(self.results(other, "1", [quick]), {quick.event_id: {}})
        self.assertEqual(self.bodies(room.room_id), ["number 1"])
        self.clock.advance(5)
        self.ok(self.finish(pending))

    def test_what_was_answered_is_worked_off_after_a_restart(self) -> None:
        room = self.given_far_room()
        hidden, late = self.given_gap(room)
        self.far.answers[MISSING] = silence
        pending = self.begin_send(self.far, "1", [late])
        self.clock.advance(5)
        self.assertEqual(self.ok(self.finish(pending))["pdus"], {late.event_id: {}})
        self.tell(room, hidden)
        self.restart()
        self.network.flush()
        self.assertEqual(self.bodies(room.room_id), ["number 1", "number 2"])
        self.assertEqual(self.on_disk(), 0)

    def test_same_event_waits_once(self) -> None:
        room = self.given_far_room()
        _, late = self.given_gap(room)
        self.far.answers[MISSING] = silence
        pending = [self.begin_send(self.far, name, [late, late]) for name in ("1", "2", "3")]
        self.clock.advance(5)
        for one in pending:
            self.assertEqual(self.ok(self.finish(one))["pdus"], {late.event_id: {}})
        self.assertEqual(self.far.asked(MISSING), 1)
        self.assertEqual(self.on_disk(), 1)
        # Nobody waits for it once more.
        self.assertEqual(self.results(self.far, "4", [late]), {late.event_id: {}})
        self.assertEqual(self.on_disk(), 1)

    def test_what_cannot_be_had_is_given_up_in_the_end(self) -> None:
        room = self.given_far_room()
        _, late = self.given_gap(room)
        self.far.answers[MISSING] = silence
        pending = self.begin_send(self.far, "1", [late])
        self.clock.advance(5)
        self.ok(self.finish(pending))
        self.far.answers[MISSING] = lambda request: found({"errcode": "M_FORBIDDEN"}, 403)
        self.wait(60)
        self.assertEqual(self.on_disk(), 1)
        self.wait(7200, step=30)
        self.assertEqual(self.on_disk(), 0)
        self.assertEqual(self.bodies(room.room_id), [])

    def test_transaction_that_cannot_be_kept_is_not_answered_with_success(self) -> None:
        room = self.given_far_room()
        _, late = self.given_gap(room)
        self.far.answers[MISSING] = silence
        database = self.organisations[ONE].core.database
        pending = self.begin_send(self.far, "1", [late])
        database.write_now(lambda tx: tx.run("ALTER TABLE inbound_pdus RENAME TO hidden"))
        self.clock.advance(5)
        self.assertEqual(self.finish(pending)[0], 500)
        database.write_now(lambda tx: tx.run("ALTER TABLE hidden RENAME TO inbound_pdus"))
        pending = self.begin_send(self.far, "1", [late])
        self.clock.advance(5)
        self.ok(self.finish(pending))
        self.assertEqual(self.on_disk(), 1)
        self.flushLoggedErrors()

    def test_event_that_is_not_on_disk_is_not_answered_with_success(self) -> None:
        room = self.given_far_room()
        event = room.build()
        database = self.organisations[ONE].core.database
        database.write_now(lambda tx: tx.run("ALTER TABLE events RENAME TO hidden"))
        self.assertEqual(self.send(self.far, "1", [event])[0], 500)
        database.write_now(lambda tx: tx.run("ALTER TABLE hidden RENAME TO events"))
        self.assertEqual(self.results(self.far, "1", [event]), {event.event_id: {}})
        self.assertEqual(self.bodies(room.room_id), ["number 1"])

    def test_full_queue_refuses_one_server_and_not_the_others(self) -> None:
        limits = ShareLimits(total=10, most=6, least=3)
        other = self.given_far("other.example")
        with (
            patch.object(inbound_queue, "ALL_PLACES", limits),
            patch.object(inbound_queue, "PLACES_IN_ROOM", ShareLimits(total=10, most=4, least=2)),
        ):
            self.restart()
            room = self.given_far_room()
            theirs = self.given_far_join(other, room.room_id)
            self.far.answers[MISSING] = silence
            gaps = [self.given_gap(room)[1] for _ in range(7)]
            pending = self.begin_send(self.far, "1", gaps[:5])
            self.clock.advance(5)
            answer = self.ok(self.finish(pending))["pdus"]
            # The room takes four of one server; the fifth is told so, and is not promised anything.
            errors = [event_id for event_id, result in answer.items() if result]
            self.assertEqual(errors, [gaps[4].event_id])
            self.assertEqual(self.on_disk(), 4)
            status, body = self.send(self.far, "2", gaps[4:])
            self.assertEqual((status, body["errcode"]), (429, "M_LIMIT_EXCEEDED"))
            self.assertGreater(body["retry_after_ms"], 0)
            quick = theirs.build()
            self.assertEqual(self.results(other, "1", [quick]), {quick.event_id: {}})

    def test_numbers_say_what_came_in(self) -> None:
        room = self.given_far_room()
        self.results(self.far, "1", [room.build(), None], [{"edu_type": "x.made.up", "content": {}}])
        text = self.organisations[ONE].core.metrics.render().decode()
        self.assertIn('popcube_federation_received_pdus_total{result="accepted"} 1.0', text)
        self.assertIn('popcube_federation_received_pdus_total{result="invalid"} 1.0', text)
        self.assertIn('popcube_federation_received_edus_total{result="dropped",type="other"} 1.0', text)
        self.assertIn("popcube_federation_inbound_pdus 0.0", text)
        self.assertNotIn("far.example", text)


class FairSharesTests(ReceivingCase):
    def test_one_gets_much_and_many_get_their_part(self) -> None:
        shares = FairShares(ShareLimits(total=100, most=60, least=10))
        self.assertTrue(shares.has_room("a", 60))
        self.assertFalse(shares.has_room("a", 61))
        shares.take("a", 60)
        self.assertTrue(shares.has_room("b", 40))
        shares.take("b", 40)
        # Nothing is left, and yet the least share is there for who comes now; not for who has more already.
        self.assertTrue(shares.has_room("c", 10))
        self.assertFalse(shares.has_room("c", 11))
        self.assertFalse(shares.has_room("b", 1))
        self.assertTrue(shares.has_room("b", 0))
        shares.give_back("a", 60)
        shares.give_back("b", 40)
        self.assertEqual((shares.used, shares.holders), (0, 0))
