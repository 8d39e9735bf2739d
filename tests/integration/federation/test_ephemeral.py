"""What passes: typing, receipts and presence."""

import uuid

from tests.integration.federation.listening import Listener
from tests.integration.federation.pairs import (
    OursOnPostgresWithSynapse,
    OursOnSqliteWithSynapse,
    Scenarios,
    TwoOfOurs,
)
from tests.integration.federation.peers import User, eventually, quote


class EphemeralScenarios(Scenarios):
    def test_typing_begins_and_ends(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_shared_room(alice, bob)
            listener = Listener(bob)
            set_typing(alice, room_id, timeout_ms=30_000)
            self.wait_for_typing(listener, room_id, alice)
            set_typing(alice, room_id)
            self.wait_for_typing(listener, room_id)

    def test_typing_ends_by_itself(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_shared_room(alice, bob)
            listener = Listener(bob)
            set_typing(alice, room_id, timeout_ms=2000)
            self.wait_for_typing(listener, room_id, alice)
            # The other server is told, or it waits no longer than a minute for that.
            self.wait_for_typing(listener, room_id)

    def test_typing_of_both_at_once_is_seen_by_both(self) -> None:
        alice, bob = self.here.register("alice"), self.there.register("bob")
        room_id = self.given_shared_room(alice, bob)
        listeners = [Listener(alice), Listener(bob)]
        for user in (alice, bob):
            set_typing(user, room_id, timeout_ms=30_000)
        for listener in listeners:
            self.wait_for_typing(listener, room_id, alice, bob)

    def test_nobody_outside_is_told_of_typing_receipts_and_presence(self) -> None:
        for near, far in self.both_ways():
            alice, bob, stranger = near.register("alice"), far.register("bob"), far.register("stranger")
            room_id = self.given_shared_room(alice, bob)
            listener, outsider = Listener(bob), Listener(stranger)
            event_id = bob.send_text(room_id, "read me")
            self.wait_for_event(alice, room_id, event_id)
            set_typing(alice, room_id, timeout_ms=30_000)
            send_receipt(alice, room_id, event_id)
            set_presence(alice, "online", "for you only")
            self.wait_for_typing(listener, room_id, alice)
            self.wait_for_receipt(listener, room_id, (event_id, "m.read", alice.user_id, None))
            self.wait_for_presence(listener, alice, "online", "for you only")
            outsider.hear()
            self.assertEqual((outsider.typing(room_id), outsider.receipts(room_id)), ([], []))
            self.assertNotIn(alice.user_id, outsider.presence)

    def test_receipts_arrive(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_shared_room(alice, bob)
            listener = Listener(bob)
            for number in range(3):
                event_id = bob.send_text(room_id, f"text {number}")
                self.wait_for_event(alice, room_id, event_id)
                send_receipt(alice, room_id, event_id)
                self.wait_for_receipt(listener, room_id, (event_id, "m.read", alice.user_id, None))

    def test_receipts_in_threads_arrive_beside_the_others(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_shared_room(alice, bob)
            listener = Listener(bob)
            root = bob.send_text(room_id, "a subject")
            answer = send_in_thread(bob, room_id, root, "an answer")
            self.wait_for_event(alice, room_id, answer)
            send_receipt(alice, room_id, answer, thread_id=root)
            send_receipt(alice, room_id, root, thread_id="main")
            self.wait_for_receipt(listener, room_id, (answer, "m.read", alice.user_id, root))
            self.wait_for_receipt(listener, room_id, (root, "m.read", alice.user_id, "main"))

    def test_private_receipts_stay_where_they_are(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_shared_room(alice, bob)
            listener = Listener(bob)
            private, public = bob.send_text(room_id, "private"), bob.send_text(room_id, "public")
            self.wait_for_event(alice, room_id, public)
            send_receipt(alice, room_id, private, "m.read.private")
            send_receipt(alice, room_id, private, "m.fully_read")
            send_receipt(alice, room_id, public)
            # They go the same way in this order.
            self.wait_for_receipt(listener, room_id, (public, "m.read", alice.user_id, None))
            mine = [receipt for receipt in listener.receipts(room_id) if receipt[2] == alice.user_id]
            self.assertEqual({receipt[:2] for receipt in mine}, {(public, "m.read")})

    def test_receipts_of_a_cut_are_made_up_for_by_the_next(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = self.given_shared_room(alice, bob)
            listener = Listener(bob)
            first, second = bob.send_text(room_id, "one"), bob.send_text(room_id, "two")
            self.wait_for_event(alice, room_id, second)
            with self.partition():
                send_receipt(alice, room_id, first)
            send_receipt(alice, room_id, second)
            self.wait_for_receipt(listener, room_id, (second, "m.read", alice.user_id, None))

    def test_presence_arrives(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            self.given_shared_room(alice, bob)
            listener = Listener(bob)
            for state, message in (
                ("online", "at work"),
                ("unavailable", "at lunch"),
                ("online", None),
                ("offline", "gone home"),
            ):
                set_presence(alice, state, message)
                self.wait_for_presence(listener, alice, state, message)

    def test_presence_is_known_to_who_comes_into_the_room_later(self) -> None:
        for near, far in self.both_ways():
            alice, bob = near.register("alice"), far.register("bob")
            room_id = alice.create_room(preset="public_chat")
            set_presence(alice, "online", "waiting")
            listener = Listener(bob)
            bob.join(room_id, near.server_name)
            self.wait_for_presence(listener, alice, "online", "waiting")

    def wait_for_typing(self, listener: Listener, room_id: str, *users: User) -> None:
        expected = {user.user_id for user in users}
        eventually(lambda: set(listener.hear().typing(room_id)) == expected, f"typing: {expected}", 75)

    def wait_for_event(self, user: User, room_id: str, event_id: str) -> None:
        path = f"/rooms/{quote(room_id)}/event/{quote(event_id)}"
        eventually(lambda: user.call("GET", path).status == 200, f"{user.user_id} has {event_id}")

    def wait_for_receipt(
        self, listener: Listener, room_id: str, receipt: tuple[str, str, str, str | None]
    ) -> None:
        eventually(lambda: receipt in listener.hear().receipts(room_id), f"the receipt {receipt}")

    def wait_for_presence(self, listener: Listener, user: User, state: str, message: str | None) -> None:
        def told() -> bool:
            content = listener.hear().presence.get(user.user_id, {})
            assert (content.get("presence"), content.get("status_msg")) == (state, message), content
            return True

        eventually(told, f"{user.user_id} is {state}")


def set_typing(user: User, room_id: str, timeout_ms: int = 0) -> None:
    """No timeout: no longer."""
    body = {"typing": True, "timeout": timeout_ms} if timeout_ms else {"typing": False}
    user.put(f"/rooms/{quote(room_id)}/typing/{quote(user.user_id)}", body)


def send_receipt(
    user: User, room_id: str, event_id: str, kind: str = "m.read", thread_id: str | None = None
) -> None:
    body = {} if thread_id is None else {"thread_id": thread_id}
    user.post(f"/rooms/{quote(room_id)}/receipt/{kind}/{quote(event_id)}", body)


def send_in_thread(user: User, room_id: str, root: str, text: str) -> str:
    relation = {"rel_type": "m.thread", "event_id": root}
    path = f"/rooms/{quote(room_id)}/send/m.room.message/{uuid.uuid4().hex}"
    body = {"msgtype": "m.text", "body": text, "m.relates_to": relation}
    event_id: str = user.put(path, body)["event_id"]
    return event_id


def set_presence(user: User, state: str, message: str | None = None) -> None:
    body = {"presence": state, **({} if message is None else {"status_msg": message})}
    user.put(f"/presence/{quote(user.user_id)}/status", body)


class EphemeralOnSqliteWithSynapseTests(OursOnSqliteWithSynapse, EphemeralScenarios):
    pass


class EphemeralOnPostgresWithSynapseTests(OursOnPostgresWithSynapse, EphemeralScenarios):
    pass


class EphemeralBetweenOursTests(TwoOfOurs, EphemeralScenarios):
    pass
