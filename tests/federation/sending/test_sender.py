"""What goes to which server, and what happens to it when a server does not answer."""

from collections.abc import Sequence
from typing import Any

import orjson
from twisted.trial.unittest import SynchronousTestCase

from federation.sending.destination_queue import QueuedEvent, QueueLimits, State
from federation.sending.presence_renewal import INTERVAL_S
from federation.sending.sending_duty import SendingDuty
from federation.sites.duties.duty import Always
from federation.transport.errors import HttpRefusal, NotFederated
from storage.account_data import NO_ROOM, SetAccountData
from storage.destinations_behind import DestinationsBehindRepository
from storage.forwarded_events import ForwardEvent
from storage.overlooked_events import OverlookedEventsRepository
from storage.presence import SetPresence
from storage.receipts import PRIVATE, PUBLIC, StoreReceipt
from storage.sender_epoch import HoldDuty, SenderReplaced, TakeOver
from storage.to_device_remote import SendToRemoteDevices
from storage.typing_notices import TypingChanged
from tests.federation.rooms.engine_case import ALICE, BOB
from tests.federation.sending.sender_case import OWN, PAUSE_S, RECEIPTS_PER_S, SenderMixin, X, Y
from tests.storage.storage_case import PostgresStorage, SqliteStorage


class SenderTests(SenderMixin):
    def test_message_goes_to_each_server_in_the_room_once(self) -> None:
        room_id = self.given_shared_room(X, Y)
        self.given_remote_member(room_id, f"@other:{X}")
        self.say(room_id, "hello")
        self.assertEqual((self.others.bodies(X), self.others.bodies(Y)), (["hello"], ["hello"]))
        self.assertEqual({name for name, _, _ in self.others.taken}, {X, Y})

    def test_event_of_another_server_is_not_sent(self) -> None:
        room_id = self.given_shared_room(X, Y)
        self.send(room_id, f"@remote:{X}", "from x")
        self.turn()
        self.assertEqual(self.others.bodies(Y), [])

    def test_event_that_is_forwarded_goes_to_others_than_its_origin(self) -> None:
        room_id = self.given_shared_room(X, Y)
        event_id = self.send(room_id, f"@remote:{X}", "from x")
        self.result(self.committer.commit(ForwardEvent(room_id, event_id)))
        self.turn()
        self.assertEqual((self.others.bodies(X), self.others.bodies(Y)), ([], ["from x"]))

    def test_kick_is_told_to_the_server_that_leaves_and_later_messages_are_not(self) -> None:
        room_id = self.given_shared_room(X)
        self.say(room_id, "before")
        self.set_state(room_id, ALICE, "m.room.member", f"@remote:{X}", {"membership": "leave"})
        self.turn()
        self.say(room_id, "after")
        self.assertEqual(self.others.bodies(X), ["before"])
        self.assertEqual(self.others.pdus(X)[-1]["content"]["membership"], "leave")

    def test_server_that_joins_gets_nothing_of_before(self) -> None:
        room_id = self.given_room()
        self.send(room_id, ALICE, "before")
        self.given_remote_member(room_id, f"@remote:{X}")
        self.turn()
        self.say(room_id, "after")
        self.assertEqual(self.others.bodies(X), ["after"])

    def test_event_that_a_server_passes_over_is_sent_again_until_it_knows_the_room(self) -> None:
        room_id = self.given_shared_room(X, Y)
        self.others.passing_over.add(X)
        self.say(room_id, "welcome")
        self.pass_time(1)
        self.assertEqual(self.others.bodies(X), ["welcome"] * 2)
        self.others.passing_over.clear()
        self.say(room_id, "how are you?")
        for _ in range(3):
            self.pass_time(10)
        self.assertEqual(self.others.bodies(X), ["welcome", "welcome", "how are you?", "welcome"])
        self.assertEqual(self.others.bodies(Y), ["welcome", "how are you?"])
        self.assertEqual(len(self.deliveries), 0)

    def test_server_that_never_speaks_of_events_is_sent_them_a_few_times_and_then_once(self) -> None:
        room_id, other_room_id = self.given_shared_room(X), self.given_shared_room(X)
        self.others.passing_over.add(X)
        for text in ("one", "two"):
            self.say(room_id, text)
            for _ in range(6):
                self.pass_time(60)
        self.assertEqual(self.others.bodies(X), ["one"] * 4 + ["two"])
        self.say(other_room_id, "there")
        self.pass_time(1)
        self.assertEqual(self.others.bodies(X)[5:], ["there"] * 2)
        self.pass_time(3600)
        self.others.taken.clear()
        self.say(room_id, "three")
        self.pass_time(1)
        self.assertEqual(self.others.bodies(X), ["three"] * 2)

    def test_event_that_a_server_passes_over_is_not_sent_again_by_a_sender_that_was_replaced(self) -> None:
        room_id = self.given_shared_room(X)
        self.others.passing_over.add(X)
        self.say(room_id, "hello")
        self.result(self.committer.commit(TakeOver()))
        self.failure(self.deliveries.commit(), SenderReplaced)
        self.pass_time(1)
        self.assertEqual(self.others.bodies(X), ["hello"])
        self.assertEqual(len(self.deliveries), 0)

    def test_event_that_a_server_passes_over_is_not_for_it_once_it_has_left(self) -> None:
        room_id = self.given_shared_room(X)
        self.others.passing_over.add(X)
        self.say(room_id, "hello")
        self.set_state(room_id, f"@remote:{X}", "m.room.member", f"@remote:{X}", {"membership": "leave"})
        self.pass_time(1)
        self.assertEqual(self.others.bodies(X), ["hello"])
        self.assertEqual(self.overlooked(), [])

    def overlooked(self) -> list[tuple[str, str]]:
        rows = self.result(self.database.read(OverlookedEventsRepository().get_all))
        return [(row.destination, row.event_id) for row in rows]

    def test_event_that_a_server_passes_over_is_sent_again_after_a_restart(self) -> None:
        room_id = self.given_shared_room(X, Y)
        self.others.passing_over.add(X)
        event_id = self.say(room_id, "welcome")
        # Until the sender's place is past it.
        self.pass_time(30)
        self.assertEqual(self.overlooked(), [(X, event_id)])
        self.others.taken.clear()
        self.crash()
        self.assertEqual((self.others.bodies(X), self.others.bodies(Y)), (["welcome"], []))
        self.others.taken.clear()
        self.others.passing_over.clear()
        self.restart()
        self.assertEqual((self.others.bodies(X), self.others.bodies(Y)), (["welcome"], []))
        self.assertEqual(self.overlooked(), [])
        self.restart()
        self.pass_time(120)
        self.assertEqual(self.others.bodies(X), ["welcome"])

    def test_server_that_never_speaks_of_events_is_sent_them_a_few_times_after_a_restart(self) -> None:
        room_id = self.given_shared_room(X)
        self.others.passing_over.add(X)
        self.say(room_id, "welcome")
        self.pass_time(20)
        self.others.taken.clear()
        self.restart()
        for _ in range(6):
            self.pass_time(60)
        self.assertEqual(self.others.bodies(X), ["welcome"] * 3)
        self.assertEqual(self.overlooked(), [])

    def test_event_that_a_server_passed_over_before_it_went_down_is_not_kept_twice(self) -> None:
        room_id = self.given_shared_room(X)
        self.others.passing_over.add(X)
        self.say(room_id, "hello")
        self.given_down(X)
        self.pass_time(1)
        self.assertEqual(self.deliveries.state_of(X), State.BACKING_OFF)
        self.assertEqual(self.overlooked(), [])
        self.others.passing_over.clear()
        self.restart()
        self.recover(X)
        self.assertEqual(self.others.bodies(X), ["hello"] * 2)

    def test_event_that_a_server_passed_over_waits_for_it_while_it_is_down(self) -> None:
        room_id = self.given_shared_room(X)
        self.others.passing_over.add(X)
        self.say(room_id, "hello")
        self.given_down(X)
        self.be_online(ALICE)
        self.assertEqual(self.deliveries.state_of(X), State.BACKING_OFF)
        self.pass_time(1)
        self.assertEqual(self.overlooked(), [])
        self.others.passing_over.clear()
        self.crash()
        self.recover(X)
        self.assertEqual(self.others.bodies(X), ["hello"] * 2)

    def test_invite_is_told_to_the_server_of_the_invited(self) -> None:
        room_id = self.given_shared_room()
        self.set_state(room_id, ALICE, "m.room.member", f"@guest:{Y}", {"membership": "invite"})
        self.turn()
        self.assertEqual([pdu["state_key"] for pdu in self.others.pdus(Y)], [f"@guest:{Y}"])

    def test_one_transaction_is_under_way_and_the_rest_follows_in_order(self) -> None:
        room_id = self.given_shared_room(X)
        self.others.held[X] = []
        for number in range(60):
            self.say(room_id, str(number))
        (first,) = self.others.held[X]
        del self.others.held[X]
        first.callback(None)
        self.assertEqual(self.others.bodies(X), [str(number) for number in range(60)])
        sizes = [len(body["pdus"]) for name, _, body in self.others.taken if name == X]
        self.assertEqual(sizes[-3:], [1, 50, 9])

    def test_idle_destinations_take_no_memory(self) -> None:
        room_id = self.given_shared_room(X, Y)
        self.say(room_id, "hello")
        self.assertEqual(len(self.deliveries), 0)

    def test_sender_of_several_sites_writes_its_place_down_once_and_then_rests(self) -> None:
        self.duty = SendingDuty(Always(), "this site's log")
        self.restart()
        room_id = self.given_shared_room(X)
        self.say(room_id, "hello")
        self.pass_time(10)
        written = self.log.position
        for _ in range(5):
            self.pass_time(10)
        self.assertEqual(self.log.position, written)
        self.say(room_id, "hello again")
        self.pass_time(10)
        self.assertEqual(self.log.position, written + 2)

    def test_transaction_ids_are_never_repeated(self) -> None:
        room_id = self.given_shared_room(X)
        for text in ("a", "b"):
            self.say(room_id, text)
            self.restart()
            self.say(room_id, text)
        ids = [txn_id for _, txn_id, _ in self.others.taken]
        self.assertEqual(len(ids), len(set(ids)))

    def test_what_a_dead_server_misses_is_written_down_before_the_place_is(self) -> None:
        room_id, other_room_id = self.given_shared_room(X), self.given_shared_room(X)
        event_id = self.say(room_id, "told twice")
        position = self.log.position
        self.given_down(X)
        self.say(other_room_id, "missed")
        # As when a queue that was too long could not be written down.
        self.deliveries.add_event(QueuedEvent(position, room_id, event_id), (X,), ())
        self.result(self.committer.commit(SetAccountData(ALICE, NO_ROOM, "concerns.nobody", b"{}")))
        self.pass_time(10)
        self.crash()
        self.recover(X)
        self.assertEqual(self.others.bodies(X), ["told twice", "told twice", "missed"])

    def test_server_that_is_back_gets_the_latest_of_each_room(self) -> None:
        one, other = self.given_shared_room(X), self.given_shared_room(X)
        self.say(one, "delivered")
        self.given_down(X)
        for number in range(10):
            self.say(one, f"one {number}")
            self.say(other, f"other {number}")
        self.assertEqual(self.deliveries.state_of(X), State.BACKING_OFF)
        self.recover(X)
        self.assertEqual(self.others.bodies(X), ["delivered", "one 9", "other 9"])
        self.assertEqual(self.deliveries.state_of(X), State.IDLE)
        self.say(one, "live again")
        self.assertEqual(self.others.bodies(X)[-1], "live again")

    def test_pause_ends_by_itself(self) -> None:
        room_id = self.given_shared_room(X)
        self.given_down(X)
        self.say(room_id, "missed")
        del self.others.errors[X]
        self.clock.advance(PAUSE_S - 1)
        self.assertEqual(self.others.bodies(X), [])
        self.clock.advance(1)
        self.assertEqual(self.others.bodies(X), ["missed"])

    def test_dead_servers_have_no_queue_and_one_timer_together(self) -> None:
        room_id = self.given_shared_room(X, Y)
        self.given_down(X)
        self.given_down(Y)
        for number in range(20):
            self.say(room_id, str(number))
        self.assertEqual((len(self.deliveries), self.deliveries.parked_count), (0, 2))
        self.assertIsNone(self.deliveries.find_oldest())
        calls: Sequence[Any] = self.clock.getDelayedCalls()
        pauses_s = [call.getTime() - self.clock.seconds() for call in calls]
        retries = [pause_s for pause_s in pauses_s if 60 < pause_s <= PAUSE_S]
        self.assertEqual(len(retries), 1)

    def test_dead_server_does_not_hold_up_others(self) -> None:
        room_id = self.given_shared_room(X, Y)
        self.others.held[X] = []
        self.say(room_id, "hello")
        self.assertEqual(self.others.bodies(Y), ["hello"])

    def test_outage_survives_a_restart(self) -> None:
        room_id = self.given_shared_room(X)
        self.given_down(X)
        self.say(room_id, "missed")
        self.restart()
        self.say(room_id, "missed too")
        self.assertEqual(self.deliveries.state_of(X), State.BACKING_OFF)
        self.recover(X)
        self.assertEqual(self.others.bodies(X), ["missed too"])

    def test_server_that_left_during_its_outage_learns_nothing_later(self) -> None:
        room_id = self.given_shared_room(X)
        self.given_down(X)
        self.say(room_id, "missed")
        self.set_state(room_id, ALICE, "m.room.member", f"@remote:{X}", {"membership": "leave"})
        self.turn()
        self.say(room_id, "secret")
        self.recover(X)
        self.assertEqual([pdu["type"] for pdu in self.others.pdus(X)], ["m.room.member"])

    def test_crash_with_a_transaction_under_way_loses_nothing(self) -> None:
        room_id = self.given_shared_room(X)
        self.others.held[X] = []
        self.say(room_id, "cut off")
        self.clock.advance(20)
        self.others.held.clear()
        self.crash()
        self.assertEqual(self.others.bodies(X), ["cut off"])

    def test_slow_server_is_caught_up_instead_of_filling_memory(self) -> None:
        bodies = self.bodies_of_a_slow_server(self.limits.one + 20)
        self.assertEqual(bodies[-1], str(self.limits.one + 19))
        self.assertLess(len(bodies), 60)

    def test_slow_server_gets_everything_while_there_is_memory_for_it(self) -> None:
        self.assertEqual(len(self.bodies_of_a_slow_server(self.limits.one)), self.limits.one)

    def test_slow_server_is_caught_up_earlier_when_much_waits_for_all_together(self) -> None:
        self.restart_with(QueueLimits(one=200, few=20, together=30))
        self.assertEqual(len(self.bodies_of_a_slow_server(29)), 29)
        self.assertLess(len(self.bodies_of_a_slow_server(100)), 80)

    def bodies_of_a_slow_server(self, messages: int) -> list[str]:
        room_id = self.given_shared_room(X)
        before = len(self.others.bodies(X))
        self.others.held[X] = []
        for number in range(messages):
            self.say(room_id, str(number))
        (first,) = self.others.held.pop(X)
        first.callback(None)
        self.turn()
        self.assertEqual(len(self.deliveries), 0)
        return self.others.bodies(X)[before:]

    def test_server_that_refuses_is_asked_again_later(self) -> None:
        room_id = self.given_shared_room(X)
        self.others.errors[X] = HttpRefusal(X, 403, {"errcode": "M_FORBIDDEN"})
        self.say(room_id, "refused")
        del self.others.errors[X]
        self.clock.advance(60)
        self.assertEqual(self.others.bodies(X), ["refused"])

    def test_server_that_is_not_talked_to_is_forgotten(self) -> None:
        room_id = self.given_shared_room(X)
        self.others.errors[X] = NotFederated(X, "not whitelisted")
        self.say(room_id, "hello")
        self.assertEqual(len(self.deliveries), 0)
        self.assertEqual(self.read(DestinationsBehindRepository().get_lagging), [])

    def test_older_sender_may_write_nothing_any_more(self) -> None:
        self.result(self.committer.commit(TakeOver()))
        self.failure(self.committer.commit(HoldDuty(1)), SenderReplaced)

    def test_replaced_sender_stops(self) -> None:
        room_id = self.given_shared_room(X)
        self.given_down(X)
        self.result(self.committer.commit(TakeOver()))
        self.say(room_id, "hello")
        self.others.errors.clear()
        self.clock.advance(PAUSE_S * 10)
        self.assertEqual(self.others.bodies(X), [])


class MessagesToDevicesTests(SenderMixin):
    def message(self, destination: str, text: str) -> None:
        content = {"sender": ALICE, "type": "m.test", "messages": {f"@r:{destination}": {"D": {"t": text}}}}
        self.result(self.committer.commit(SendToRemoteDevices(((destination, orjson.dumps(content)),))))
        self.turn()

    def texts(self, destination: str) -> list[str]:
        return [
            edu["content"]["messages"][f"@r:{destination}"]["D"]["t"] for edu in self.others.edus(destination)
        ]

    def test_message_is_sent_once(self) -> None:
        self.message(X, "hello")
        self.restart()
        self.assertEqual(self.texts(X), ["hello"])
        self.assertEqual(self.others.edus(X)[0]["edu_type"], "m.direct_to_device")

    def test_messages_wait_for_a_server_and_keep_their_ids(self) -> None:
        self.given_down(X)
        for number in range(120):
            self.message(X, str(number))
        self.restart()
        self.recover(X)
        self.assertEqual(self.texts(X), [str(number) for number in range(120)])
        ids = {edu["content"]["message_id"] for edu in self.others.edus(X)}
        self.assertEqual(len(ids), 120)
        self.assertLessEqual(max(map(len, ids)), 32)

    def test_messages_go_beside_events_and_are_not_starved_while_catching_up(self) -> None:
        rooms = [self.given_shared_room(X) for _ in range(60)]
        self.given_down(X)
        for room_id in rooms:
            self.say(room_id, "missed")
        self.message(X, "hello")
        self.recover(X)
        first = next(body for name, _, body in self.others.taken if name == X and body["edus"])
        self.assertEqual(len(first["pdus"]), 50)
        self.assertEqual(self.texts(X), ["hello"])
        self.assertEqual(len(self.others.bodies(X)), 60)


class EphemeralTests(SenderMixin):
    def type(self, room_id: str, *user_ids: str) -> None:
        self.result(self.committer.commit(TypingChanged(room_id, user_ids)))
        self.turn()

    def test_typing_of_own_users_is_told(self) -> None:
        room_id = self.given_shared_room(X)
        for users in ((ALICE, f"@remote:{X}"), (f"@remote:{X}",)):
            self.result(self.committer.commit(TypingChanged(room_id, users)))
            self.turn()
        self.assertEqual(
            self.told(X, "m.typing"),
            [{"room_id": room_id, "user_id": ALICE, "typing": typing} for typing in (True, False)],
        )

    def test_public_receipt_is_told_and_a_private_one_is_not(self) -> None:
        room_id = self.given_shared_room(X)
        event_id = self.say(room_id, "hello")
        for kind in (PRIVATE, PUBLIC):
            self.result(self.committer.commit(StoreReceipt(room_id, ALICE, kind, "main", event_id, 1, 4_000)))
            self.turn()
        read = {ALICE: {"data": {"ts": 4_000, "thread_id": "main"}, "event_ids": [event_id]}}
        self.assertEqual(self.told(X, "m.receipt"), [{room_id: {"m.read": read}}])

    def test_only_the_newest_of_what_waits_is_told(self) -> None:
        room_id = self.given_shared_room(X)
        self.others.held[X] = []
        self.say(room_id, "hello")
        for users in ((ALICE,), (), (ALICE,), (ALICE, BOB)):
            self.result(self.committer.commit(TypingChanged(room_id, users)))
            self.turn()
        (first,) = self.others.held.pop(X)
        first.callback(None)
        told = self.told(X, "m.typing")
        self.assertEqual([(one["user_id"], one["typing"]) for one in told], [(ALICE, True), (BOB, True)])

    def test_typing_is_told_again_before_others_stop_showing_it(self) -> None:
        room_id = self.given_shared_room(X)
        self.type(room_id, ALICE)
        self.pass_time(31)
        self.pass_time(31)
        self.type(room_id)
        self.pass_time(100)
        told = [one["typing"] for one in self.told(X, "m.typing")]
        self.assertEqual(told, [True, True, True, False])

    def test_receipts_of_a_room_are_gathered(self) -> None:
        room_id = self.given_shared_room(X)
        event_id = self.say(room_id, "hello")
        before = self.others.tries
        for number in range(30):
            self.read_receipt(room_id, f"@u{number}:{OWN}", event_id, 1)
        self.pass_time(1 / RECEIPTS_PER_S)
        self.assertEqual(self.others.tries - before, 2)
        (first, second) = self.told(X, "m.receipt")
        self.assertEqual((len(first[room_id]["m.read"]), len(second[room_id]["m.read"])), (1, 29))

    def test_receipts_in_threads_are_told_beside_each_other(self) -> None:
        room_id = self.given_shared_room(X)
        event_id = self.say(room_id, "hello")
        self.others.held[X] = []
        self.say(room_id, "held")
        for thread in ("main", "$root", None):
            receipt = StoreReceipt(room_id, ALICE, PUBLIC, thread, event_id, 1, 4_000)
            self.result(self.committer.commit(receipt))
            self.turn()
        (first,) = self.others.held.pop(X)
        first.callback(None)
        self.turn()
        told = [one[room_id]["m.read"][ALICE]["data"].get("thread_id") for one in self.told(X, "m.receipt")]
        self.assertEqual(told, ["main", "$root", None])

    def test_server_that_comes_into_a_room_is_told_who_is_online_there(self) -> None:
        room_id, elsewhere = self.given_shared_room(X), self.given_shared_room()
        self.join(room_id, "@second:one.example")
        self.join(elsewhere, "@apart:one.example")
        for user_id in (ALICE, "@second:one.example", "@apart:one.example"):
            self.be_online(user_id, "here")
        before = len(self.told(X, "m.presence"))
        for user_id in (f"@first:{Y}", f"@next:{Y}"):
            self.given_remote_member(room_id, user_id)
            self.turn()
        told = [{one["user_id"] for one in edu["push"]} for edu in self.told(Y, "m.presence")]
        self.assertEqual(told, [{ALICE, "@second:one.example"}])
        self.assertEqual(len(self.told(X, "m.presence")), before)

    def test_servers_in_a_room_are_told_that_who_comes_is_online(self) -> None:
        room_id = self.given_shared_room(X)
        self.be_online("@second:one.example", "here")
        self.result(self.committer.commit(SetPresence("@third:one.example", "offline", None, 900_000, False)))
        self.turn()
        self.assertEqual(self.told(X, "m.presence"), [])
        for user_id in ("@second:one.example", "@third:one.example"):
            self.join(room_id, user_id)
            self.turn()
        told = [[one["user_id"] for one in edu["push"]] for edu in self.told(X, "m.presence")]
        self.assertEqual(told, [["@second:one.example"]])

    def test_presence_goes_to_servers_that_share_a_room_in_one_edu(self) -> None:
        room_id = self.given_shared_room(X)
        self.join(room_id, BOB)
        other = self.given_room()
        self.given_remote_member(other, f"@remote:{Y}")
        self.set_state(other, ALICE, "m.room.member", ALICE, {"membership": "leave"})
        self.turn()
        self.others.held[X] = []
        self.say(room_id, "held")
        for user_id in (ALICE, BOB, ALICE):
            self.be_online(user_id, "here")
        (first,) = self.others.held.pop(X)
        first.callback(None)
        (told,) = self.told(X, "m.presence")
        self.assertEqual([one["user_id"] for one in told["push"]], [BOB, ALICE])
        self.assertEqual(told["push"][0]["last_active_ago"], 100_000)
        self.assertEqual(self.told(Y, "m.presence"), [])

    def test_who_stays_online_is_told_again(self) -> None:
        self.given_shared_room(X)
        self.be_online(ALICE)
        self.be_online(f"@remote:{X}")
        self.pass_time(INTERVAL_S)
        told = [[one["user_id"] for one in edu["push"]] for edu in self.told(X, "m.presence")]
        self.assertEqual(told, [[ALICE], [ALICE]])
        self.result(self.committer.commit(SetPresence(ALICE, "offline", None, 900_000, False)))
        self.turn()
        before = len(self.told(X, "m.presence"))
        self.pass_time(INTERVAL_S)
        self.assertEqual(len(self.told(X, "m.presence")), before)

    def test_what_passes_is_not_kept_for_a_dead_server(self) -> None:
        room_id = self.given_shared_room(X)
        self.given_down(X)
        self.say(room_id, "missed")
        self.result(self.committer.commit(TypingChanged(room_id, (ALICE,))))
        self.turn()
        self.recover(X)
        self.assertEqual(self.told(X, "m.typing"), [])


class SqliteSenderTests(SqliteStorage, SenderTests, SynchronousTestCase): ...


class PostgresSenderTests(PostgresStorage, SenderTests, SynchronousTestCase): ...


class SqliteMessagesToDevicesTests(SqliteStorage, MessagesToDevicesTests, SynchronousTestCase): ...


class PostgresMessagesToDevicesTests(PostgresStorage, MessagesToDevicesTests, SynchronousTestCase): ...


class SqliteEphemeralTests(SqliteStorage, EphemeralTests, SynchronousTestCase): ...
