"""Room history that a server reaches into after it joined."""

from typing import Any
from urllib.parse import quote

import orjson

from federation.room_dag.canonical_json import encode_canonical
from federation.transport.https import HttpResponse
from federation.transport.x_matrix import build_x_matrix
from tests.popcube_server.server_case import ONE, TWO, ServerTestCase, TestUser


class HistoryCase(ServerTestCase):
    """Alice's room on `one.example`; Bob's server joins it later."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob", TWO)

    def join(self, user: TestUser, room_id: str) -> None:
        self.ok(self.post(f"/_matrix/client/v3/join/{quote(room_id)}?via={ONE}", {}, user))

    def page(self, user: TestUser, room_id: str, query: str) -> Any:
        path = f"/_matrix/client/v3/rooms/{quote(room_id)}/messages?{query}"
        pending = self.begin("GET", path, None, user)
        return self.ok(self.finish(pending))

    def read_back(self, user: TestUser, room_id: str, limit: int = 20) -> list[Any]:
        """All events that a client finds on its way back, newest first."""
        events: list[Any] = []
        at = None
        for _ in range(100):
            query = f"dir=b&limit={limit}" + ("" if at is None else f"&from={at}")
            page = self.page(user, room_id, query)
            events += page["chunk"]
            at = page.get("end")
            if at is None:
                return events
        raise AssertionError("there is no end to it")

    def read_on(self, user: TestUser, room_id: str, start: str | None = None) -> list[Any]:
        """All events that a client finds on its way forward, oldest first."""
        events: list[Any] = []
        for _ in range(100):
            query = "dir=f&limit=20" + ("" if start is None else f"&from={start}")
            page = self.page(user, room_id, query)
            events += page["chunk"]
            start = page.get("end")
            if start is None:
                return events
        raise AssertionError("there is no end to it")

    def sync(self, user: TestUser, since: str | None = None) -> Any:
        query = "" if since is None else f"?since={since}"
        return self.ok(self.get(f"/_matrix/client/v3/sync{query}", user))

    def deliver(self) -> None:
        """Let what waits be sent."""
        for _ in range(10):
            self.clock.advance(1)
            self.network.flush()

    def asked(self, word: str) -> int:
        return sum(word in uri for _, _, uri in self.network.requests)


def ids(events: list[Any]) -> list[str]:
    return [event["event_id"] for event in events]


def without_unsigned(events: list[Any]) -> list[Any]:
    return [{key: value for key, value in event.items() if key != "unsigned"} for event in events]


class HistoryBeforeTheJoinTests(HistoryCase):
    def test_history_is_paged_to_the_beginning_as_on_the_other_server(self) -> None:
        for version in ("1", "3", "6", "11", "12"):
            room_id = self.given_room(self.alice, room_version=version, name="Old")
            for number in range(130):
                self.given_message(self.alice, room_id, f"message {number}")
                if number % 40 == 0:
                    topic = f"/_matrix/client/v3/rooms/{quote(room_id)}/state/m.room.topic"
                    self.ok(self.put(topic, {"topic": str(number)}, self.alice))
            self.join(self.bob, room_id)
            there, here = self.read_back(self.alice, room_id), self.read_back(self.bob, room_id)
            self.assertEqual(here[-1]["type"], "m.room.create")
            self.assertEqual(without_unsigned(here), without_unsigned(there), version)
            self.assertEqual(ids(self.read_on(self.bob, room_id)), ids(there)[::-1])

    def test_first_sync_says_that_there_is_more(self) -> None:
        room_id = self.given_room(self.alice)
        first = self.given_message(self.alice, room_id, "from before")
        self.join(self.bob, room_id)
        timeline = self.sync(self.bob)["rooms"]["join"][room_id]["timeline"]
        self.assertTrue(timeline["limited"])
        page = self.page(self.bob, room_id, f"dir=b&limit=5&from={timeline['prev_batch']}")
        self.assertEqual(page["chunk"][0]["event_id"], first)

    def test_found_history_is_no_news(self) -> None:
        room_id = self.given_room(self.alice)
        for number in range(30):
            self.given_message(self.alice, room_id, f"@bob {number}")
        self.join(self.bob, room_id)
        self.deliver()
        since = self.sync(self.bob)["next_batch"]
        waiting = self.begin("GET", f"/_matrix/client/v3/sync?since={since}&timeout=30000", None, self.bob)
        self.assertGreater(len(self.read_back(self.bob, room_id)), 30)
        self.assert_waiting(waiting)
        self.clock.advance(31)
        self.assertNotIn("rooms", self.ok(self.finish(waiting)))
        self.assertNotIn(room_id, self.sync(self.bob, since).get("rooms", {}).get("join", {}))
        counts = self.sync(self.bob)["rooms"]["join"][room_id]["unread_notifications"]
        self.assertEqual(counts, {"highlight_count": 0, "notification_count": 0})
        notified = self.ok(self.get("/_matrix/client/v3/notifications", self.bob))
        self.assertEqual(notified["notifications"], [])

    def test_nothing_of_it_is_sent_to_other_servers_again(self) -> None:
        room_id = self.given_room(self.alice)
        self.join(self.bob, room_id)
        self.given_message(self.bob, room_id, "mine")
        self.deliver()
        self.ok(self.post(f"/_matrix/client/v3/rooms/{quote(room_id)}/leave", {}, self.bob))
        self.deliver()
        self.given_message(self.alice, room_id, "meanwhile")
        self.join(self.bob, room_id)
        self.deliver()
        self.network.requests.clear()
        self.read_back(self.bob, room_id)
        self.deliver()
        self.restart(TWO)
        self.deliver()
        self.assertEqual(
            [uri for host, _, uri in self.network.requests if host == ONE and "/send/" in uri], []
        )

    def test_hidden_history_stays_hidden(self) -> None:
        for visibility in ("joined", "invited"):
            rule = {"type": "m.room.history_visibility", "content": {"history_visibility": visibility}}
            room_id = self.given_room(self.alice, preset="private_chat", initial_state=[rule])
            self.given_message(self.alice, room_id, "secret")
            invite = f"/_matrix/client/v3/rooms/{quote(room_id)}/invite"
            self.ok(self.post(invite, {"user_id": self.bob.user_id}, self.alice))
            self.given_message(self.alice, room_id, "after the invite")
            self.join(self.bob, room_id)
            self.deliver()
            self.given_message(self.alice, room_id, "after the join")
            self.deliver()
            bodies = [event["content"].get("body") for event in self.read_back(self.bob, room_id)]
            texts = [body for body in bodies if body is not None]
            expected = (
                ["after the join", "after the invite"] if visibility == "invited" else ["after the join"]
            )
            self.assertEqual(texts, expected, visibility)

    def test_what_was_open_before_it_was_closed_is_seen(self) -> None:
        room_id = self.given_room(self.alice)
        self.given_message(self.alice, room_id, "open")
        path = f"/_matrix/client/v3/rooms/{quote(room_id)}/state/m.room.history_visibility"
        self.ok(self.put(path, {"history_visibility": "joined"}, self.alice))
        self.given_message(self.alice, room_id, "closed")
        self.join(self.bob, room_id)
        events = self.read_back(self.bob, room_id)
        self.assertEqual(
            [event["content"]["body"] for event in events if "body" in event["content"]], ["open"]
        )
        self.assertEqual(events[-1]["type"], "m.room.create")

    def test_member_is_told_what_they_were(self) -> None:
        room_id = self.given_room(self.alice)
        self.given_message(self.alice, room_id, "before")
        self.join(self.bob, room_id)
        events = {event["type"]: event for event in self.read_back(self.bob, room_id)}
        self.assertEqual(events["m.room.message"]["unsigned"]["membership"], "leave")

    def test_redactions_edits_and_threads_are_applied(self) -> None:
        room_id = self.given_room(self.alice)
        room = quote(room_id)
        redacted = self.given_message(self.alice, room_id, "redacted")
        edited = self.given_message(self.alice, room_id, "edited")
        for number in range(120):
            self.given_message(self.alice, room_id, str(number))
        send = f"/_matrix/client/v3/rooms/{room}/send/m.room.message/"
        edit = {
            "msgtype": "m.text",
            "body": "* new",
            "m.new_content": {"msgtype": "m.text", "body": "new"},
            "m.relates_to": {"rel_type": "m.replace", "event_id": edited},
        }
        self.ok(self.put(send + "edit", edit, self.alice))
        reply = {
            "msgtype": "m.text",
            "body": "r",
            "m.relates_to": {"rel_type": "m.thread", "event_id": edited},
        }
        self.ok(self.put(send + "reply", reply, self.alice))
        later = self.given_message(self.alice, room_id, "redacted after the join")
        self.ok(self.put(f"/_matrix/client/v3/rooms/{room}/redact/{quote(redacted)}/r1", {}, self.alice))
        self.join(self.bob, room_id)
        self.ok(self.put(f"/_matrix/client/v3/rooms/{room}/redact/{quote(later)}/r2", {}, self.alice))
        self.deliver()
        events = {event["event_id"]: event for event in self.read_back(self.bob, room_id)}
        for event_id in (redacted, later):
            self.assertEqual(events[event_id]["content"], {})
            self.assertIn("redacted_because", events[event_id]["unsigned"])
        relations = events[edited]["unsigned"]["m.relations"]
        self.assertEqual(relations["m.replace"]["content"]["m.new_content"]["body"], "new")
        self.assertEqual(relations["m.thread"]["count"], 1)
        threads = self.ok(self.get(f"/_matrix/client/v1/rooms/{room}/threads", self.bob))
        self.assertEqual(ids(threads["chunk"]), [edited])

    def test_members_and_context_of_old_places(self) -> None:
        room_id = self.given_room(self.alice)
        room = quote(room_id)
        carol = self.given_user("carol")
        before = self.given_message(self.alice, room_id, "before carol")
        self.given_joined(carol, room_id)
        after = self.given_message(carol, room_id, "after carol")
        self.ok(self.post(f"/_matrix/client/v3/rooms/{room}/leave", {}, carol))
        self.join(self.bob, room_id)
        self.read_back(self.bob, room_id)
        for event_id, is_there in ((before, False), (after, True)):
            path = f"/_matrix/client/v3/rooms/{room}/context/{quote(event_id)}?limit=0"
            context = self.ok(self.get(path, self.bob))
            members = {event["state_key"] for event in context["state"] if event["type"] == "m.room.member"}
            self.assertEqual(carol.user_id in members, is_there)
            path = f"/_matrix/client/v3/rooms/{room}/members?at={context['end']}&membership=join"
            joined = {event["state_key"] for event in self.ok(self.get(path, self.bob))["chunk"]}
            self.assertEqual(carol.user_id in joined, is_there)
        filter_json = quote(
            '{"lazy_load_members":true,"include_redundant_members":true,"types":["m.room.message"]}'
        )
        page = self.page(self.bob, room_id, f"dir=b&limit=50&filter={filter_json}")
        self.assertEqual({event["state_key"] for event in page["state"]}, {self.alice.user_id, carol.user_id})

    def test_server_that_is_gone_keeps_nobody_waiting_and_is_asked_later(self) -> None:
        room_id = self.given_room(self.alice)
        message = self.given_message(self.alice, room_id, "before")
        self.join(self.bob, room_id)
        self.network.silent.add(ONE)
        waiting = self.begin(
            "GET", f"/_matrix/client/v3/rooms/{quote(room_id)}/messages?dir=b", None, self.bob
        )
        self.clock.advance(11)
        page = self.ok(self.finish(waiting))
        self.assertEqual([event["type"] for event in page["chunk"]], ["m.room.member"])
        self.clock.advance(60)
        self.network.requests.clear()
        at = page["end"]
        for _ in range(20):
            again = self.page(self.bob, room_id, f"dir=b&from={at}")
            self.assertEqual(again["chunk"], [])
            # The same token again would tell clients that there is no more.
            self.assertNotEqual(again["end"], at)
            at = again["end"]
        self.assertEqual(self.network.requests, [])
        self.network.silent.clear()
        self.clock.advance(7200)
        self.assertIn(message, ids(self.page(self.bob, room_id, f"dir=b&limit=100&from={at}")["chunk"]))
        self.assertIn(message, ids(self.read_back(self.bob, room_id)))

    def test_restart_in_the_middle_loses_nothing(self) -> None:
        room_id = self.given_room(self.alice)
        for number in range(250):
            self.given_message(self.alice, room_id, str(number))
        self.join(self.bob, room_id)
        page = self.page(self.bob, room_id, "dir=b&limit=50")
        self.restart(TWO)
        rest: list[Any] = []
        at = page["end"]
        while at is not None:
            self.restart(TWO)
            following = self.page(self.bob, room_id, f"dir=b&limit=100&from={at}")
            rest += following["chunk"]
            at = following.get("end")
        self.assertEqual(ids(page["chunk"] + rest), ids(self.read_back(self.alice, room_id)))


class GapsTests(HistoryCase):
    def cut(self, room_id: str) -> list[str]:
        """More happens while Bob's server cannot be reached than it fetches afterwards; the messages."""
        self.network.down.add(TWO)
        missed = []
        for number in range(230):
            missed.append(self.given_message(self.alice, room_id, f"cut {number}"))
            if number % 50 == 0:
                self.deliver()
        self.network.down.clear()
        for _ in range(200):
            self.clock.advance(60)
            self.network.flush()
        return missed

    def assert_gaps(self, count: int) -> None:
        database = self.organisations[TWO].core.database
        self.assertEqual(database.read_now(lambda tx: tx.value("SELECT COUNT(*) FROM gaps")), count)

    def test_gap_after_a_partition_is_told_and_filled(self) -> None:
        room_id = self.given_room(self.alice)
        self.join(self.bob, room_id)
        self.deliver()
        self.given_message(self.alice, room_id, "before the cut")
        self.deliver()
        since = self.sync(self.bob)["next_batch"]
        self.cut(room_id)
        last = self.given_message(self.alice, room_id, "healed")
        self.deliver()
        self.assert_gaps(2)
        room = self.sync(self.bob, since)["rooms"]["join"][room_id]
        self.assertTrue(room["timeline"]["limited"])
        self.assertEqual(room["timeline"]["events"][-1]["event_id"], last)
        self.assertEqual(ids(self.read_back(self.bob, room_id)), ids(self.read_back(self.alice, room_id)))
        self.assertEqual(
            ids(self.read_on(self.bob, room_id, since)),
            ids(self.read_on(self.alice, room_id))[-231:],
        )

    def test_who_came_later_does_not_see_what_others_here_may(self) -> None:
        rule = {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}
        room_id = self.given_room(self.alice, initial_state=[rule])
        self.join(self.bob, room_id)
        self.deliver()
        missed = self.cut(room_id)
        self.given_message(self.alice, room_id, "healed")
        self.deliver()
        self.assert_gaps(2)
        carol = self.given_user("carol", TWO)
        self.join(carol, room_id)
        messages = [
            event["event_id"] for event in self.read_back(carol, room_id) if "body" in event["content"]
        ]
        self.assertEqual(messages, [])
        seen = ids(self.read_back(self.bob, room_id))
        self.assertEqual([event_id for event_id in seen if event_id in missed], missed[::-1])
        self.assertEqual(
            [event for event in self.read_back(carol, room_id) if "body" in event["content"]], []
        )
        path = f"/_matrix/client/v3/rooms/{quote(room_id)}/event/"
        self.ok(self.get(path + quote(missed[0]), self.bob))
        self.assert_refused(self.get(path + quote(missed[0]), carol), 404, "M_NOT_FOUND")

    def test_way_forward_leads_through_a_gap(self) -> None:
        room_id = self.given_room(self.alice)
        self.join(self.bob, room_id)
        self.deliver()
        self.ok(self.post(f"/_matrix/client/v3/rooms/{quote(room_id)}/leave", {}, self.bob))
        self.deliver()
        token = self.page(self.bob, room_id, "dir=b&limit=1")["start"]
        missed = [self.given_message(self.alice, room_id, str(number)) for number in range(30)]
        self.join(self.bob, room_id)
        seen = ids(self.read_on(self.bob, room_id, token))
        self.assertEqual([event_id for event_id in seen if event_id in missed], missed)
        self.assertEqual(ids(self.read_back(self.bob, room_id)), ids(self.read_back(self.alice, room_id)))


class JumpToTimeTests(HistoryCase):
    def setUp(self) -> None:
        super().setUp()
        self.room_id = self.given_room(self.alice)
        self.sent: list[tuple[int, str]] = []
        for number in range(300):
            self.clock.advance(60)
            event_id = self.given_message(self.alice, self.room_id, str(number))
            self.sent.append((int(self.clock.seconds() * 1000), event_id))
        self.join(self.bob, self.room_id)

    def find(self, at_ms: int, direction: str) -> tuple[int, Any]:
        path = f"/_matrix/client/v1/rooms/{quote(self.room_id)}/timestamp_to_event?ts={at_ms}&dir={direction}"
        return self.get(path, self.bob)

    def test_event_of_others_is_found_and_can_be_looked_around_at(self) -> None:
        at_ms, wanted = self.sent[100]
        self.assertEqual(self.ok(self.find(at_ms - 1000, "f"))["event_id"], wanted)
        self.assertEqual(self.ok(self.find(at_ms + 1000, "b"))["event_id"], wanted)
        path = f"/_matrix/client/v3/rooms/{quote(self.room_id)}/context/{quote(wanted)}?limit=20"
        context = self.ok(self.get(path, self.bob))
        ids_there = [event_id for _, event_id in self.sent]
        self.assertEqual(ids(context["events_before"]), ids_there[90:100][::-1])
        self.assertEqual(ids(context["events_after"])[:10], ids_there[101:111])
        self.assertEqual(
            ids(self.read_back(self.bob, self.room_id)), ids(self.read_back(self.alice, self.room_id))
        )
        self.restart(TWO)
        self.assertEqual(
            ids(self.read_back(self.bob, self.room_id)), ids(self.read_back(self.alice, self.room_id))
        )

    def test_nobody_is_asked_for_what_is_here(self) -> None:
        self.read_back(self.bob, self.room_id)
        self.network.requests.clear()
        for at_ms, wanted in self.sent[::50]:
            self.assertEqual(self.ok(self.find(at_ms, "f"))["event_id"], wanted)
        self.assertEqual(self.network.requests, [])

    def test_others_are_not_asked_as_often_as_somebody_likes(self) -> None:
        self.network.down.add(ONE)
        self.network.requests.clear()
        for number in range(100):
            pending = self.begin(
                "GET",
                f"/_matrix/client/v1/rooms/{quote(self.room_id)}/timestamp_to_event?ts={number}&dir=f",
                None,
                self.bob,
            )
            self.clock.advance(0)
            if number == 0:
                for _ in range(20):
                    self.clock.advance(1)
            self.assertEqual(self.ok(self.finish(pending))["origin_server_ts"], self.sent[-1][0])
        self.assertLess(len(self.network.requests), 20)

    def test_lie_about_a_time_is_not_believed(self) -> None:
        at_ms, _ = self.sent[100]

        def lie(route: Any, request: Any) -> HttpResponse:
            answer = {"event_id": self.sent[5][1], "origin_server_ts": at_ms}
            if "timestamp_to_event" not in request.uri:
                answer = {"pdus": []}
            return HttpResponse(200, {"content-type": "application/json"}, orjson.dumps(answer))

        self.network.far_servers[ONE] = lie
        # Only the join is here.
        self.assertEqual(self.ok(self.find(at_ms, "f"))["origin_server_ts"], self.sent[-1][0])


class ServeHistoryTests(HistoryCase):
    """`two.example` asks `one.example`."""

    def ask(self, method: str, url: str, body: Any = None) -> Any:
        signer = self.organisations[TWO].core.signer
        content = None if body is None else encode_canonical(body)
        header = build_x_matrix(signer, ONE, method, url, content)
        return self.ok(self.call(method, url, body, headers={"Authorization": header}))

    def test_history_is_given_bounded_and_hidden_parts_redacted(self) -> None:
        rule = {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}
        room_id = self.given_room(self.alice, initial_state=[rule])
        for number in range(150):
            self.given_message(self.alice, room_id, f"secret {number}")
        self.join(self.bob, room_id)
        self.deliver()
        for number in range(5):
            self.given_message(self.alice, room_id, f"open {number}")
        last = self.given_message(self.alice, room_id, "last")
        room, event = quote(room_id), quote(last)
        pdus = self.ask("GET", f"/_matrix/federation/v1/backfill/{room}?v={event}&limit=100")["pdus"]
        self.assertEqual(len(pdus), 100)
        bodies = [pdu["content"].get("body") for pdu in pdus if pdu["type"] == "m.room.message"]
        expected = ["last", *(f"open {number}" for number in range(4, -1, -1))]
        self.assertEqual([body for body in bodies if body is not None], expected)
        body = {"earliest_events": [], "latest_events": [last], "limit": 1000}
        events = self.ask("POST", f"/_matrix/federation/v1/get_missing_events/{room}", body)["events"]
        self.assertLessEqual(len(events), 20)
        shown = [pdu["content"]["body"] for pdu in events if "body" in pdu["content"]]
        self.assertEqual(shown, [f"open {number}" for number in range(5)])

    def test_history_goes_on_behind_what_was_rejected(self) -> None:
        room_id = self.given_room(self.alice)
        first = self.given_message(self.alice, room_id, "first")
        wrong = self.given_message(self.alice, room_id, "wrong")
        last = self.given_message(self.alice, room_id, "last")
        database = self.organisations[ONE].core.database
        database.write_now(lambda tx: tx.run("UPDATE events SET flags = 1 WHERE event_id = ?", (wrong,)))
        self.restart(ONE)
        self.join(self.bob, room_id)
        url = f"/_matrix/federation/v1/backfill/{quote(room_id)}?v={quote(last)}&limit=10"
        self.assertGreater(len(self.ask("GET", url)["pdus"]), 3)
        self.assertIn(first, ids(self.read_back(self.bob, room_id)))
