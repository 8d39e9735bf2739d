"""What is taken of a transaction, and what is not."""

from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import orjson
from nacl.signing import SigningKey
from twisted.internet.defer import Deferred

from federation.room_dag.canonical_json import encode_lenient
from federation.room_dag.signing import EventSigner
from federation.rooms.receiving import receive_pdu
from popcube_server.services.edus import receive_typing
from popcube_server.services.edus.remote_device_lists import MAX_RESYNCS, RemoteDeviceLists
from tests.popcube_server.federation_receiving.far_server import DAY_MS, V1, FarRoom, ReceivingCase, found
from tests.popcube_server.server_case import ONE, START_S, TWO

NOW_MS = int(START_S * 1000)


class TransactionTests(ReceivingCase):
    def put(self, body: Any, user: Any = None) -> tuple[int, Any]:  # type: ignore[override]
        return self.ask(self.far, "PUT", f"{V1}send/1", body)

    def test_same_transaction_is_done_once_and_answered_the_same(self) -> None:
        room = self.given_far_room()
        event, other = room.build(), room.build()
        message = {"sender": self.far.user, "type": "m.x", "message_id": "m", "messages": {}}
        first = self.ok(
            self.send(self.far, "1", [event], [{"edu_type": "m.direct_to_device", "content": message}])
        )
        # The ID says what it is, whatever is in it now.
        self.assertEqual(self.ok(self.send(self.far, "1", [other])), first)
        self.assertEqual(self.bodies(room.room_id), ["number 1"])
        self.restart()
        self.assertEqual(self.ok(self.send(self.far, "1", [other])), first)
        # For another server it means another thing, and for another organisation too.
        self.assertEqual(self.ok(self.send(self.given_far("other.example"), "1", [])), {"pdus": {}})
        answer = self.ask(self.far, "PUT", f"{V1}send/1", self.transaction(), destination=TWO)
        self.assertEqual(self.ok(answer), {"pdus": {}})

    def test_transaction_id_may_be_any_text(self) -> None:
        room = self.given_far_room()
        for txn_id in ("a/b ?&", "\u00e4\u2028", "x" * 5_000, ".", "%2e%2e"):
            event = room.build()
            self.assertEqual(self.results(self.far, txn_id, [event]), {event.event_id: {}})
            self.assertEqual(self.results(self.far, txn_id, []), {event.event_id: {}})

    def test_numbers_of_pdus_and_edus_are_limited(self) -> None:
        self.assert_refused(self.send(self.far, "a", [{}] * 51), 400, "M_BAD_JSON")
        self.assert_refused(self.send(self.far, "b", [], [{}] * 101), 400, "M_BAD_JSON")
        self.ok(self.send(self.far, "c", [{}] * 50, [{}] * 100))

    def test_largest_transaction_is_taken(self) -> None:
        room = self.given_far_room()
        pdus = [room.build(content={"body": "x" * 64_500}) for _ in range(50)]
        edus = [{"edu_type": "x", "content": {"x": "y" * 65_000}}] * 100
        results = self.results(self.far, "1", pdus, edus)
        self.assertEqual(list(results.values()), [{}] * 50)

    def test_body_beyond_the_limit_is_refused(self) -> None:
        self.assert_refused(self.send(self.far, "1", [{"x": "y" * 17_000_000}]), 413, "M_TOO_LARGE")

    def test_origin_is_who_signed(self) -> None:
        self.ok(self.put({"pdus": []}))
        for origin in ("other.example", ONE, "", None, 5, ["far.example"]):
            self.assert_refused(self.put({"origin": origin, "pdus": []}), 403, "M_FORBIDDEN")
        wrong: Any
        for wrong in ({"pdus": {}}, {"pdus": None}, {"edus": 1}):
            self.assert_refused(self.put(wrong), 400, "M_BAD_JSON")

    def test_request_for_another_organisation_is_refused(self) -> None:
        body = self.transaction()
        url = f"{V1}send/1"
        pending = self.begin_ask(self.far, "PUT", url, body)
        self.ok(self.finish(pending))
        # The header of a request to one is worth nothing at the other.
        from_one = self.begin(
            "PUT",
            url,
            encode_lenient(body),
            headers={"Authorization": self.header(url, body, ONE)},
            server_name=TWO,
        )
        self.assert_refused(self.finish(from_one), 401, "M_UNAUTHORIZED")

    def header(self, url: str, body: Any, destination: str) -> str:
        from_far = {"method": "PUT", "uri": url, "origin": self.far.name, "destination": destination}
        signature = self.far.signer.sign_bytes(encode_lenient({**from_far, "content": body}))
        return f'X-Matrix origin="{self.far.name}",destination="{destination}",key="ed25519:far",sig="{signature}"'

    def test_unknown_paths_are_unrecognized(self) -> None:
        for path in (f"{V1}sned/1", f"{V1}send", "/_matrix/federation/v9/send/1", "/_matrix/key/v9/server"):
            self.assert_refused(self.ask(self.far, "PUT", path, {}), 404, "M_UNRECOGNIZED")
        for method, path in (("POST", f"{V1}send/1"), ("PUT", f"{V1}version"), ("DELETE", f"{V1}event/x")):
            self.assert_refused(self.ask(self.far, method, path, {}), 405, "M_UNRECOGNIZED")


class EventTests(ReceivingCase):
    def refused(self, pdu: Any) -> str:
        results = self.results(self.far, f"t{self._random.getrandbits(60)}", [pdu])
        self.assertEqual(len(results), 1, pdu)
        return next(iter(results.values())).get("error", "")

    def refused_all(self, room: FarRoom, *pdus: Any) -> None:
        for pdu in pdus:
            self.assertNotEqual(self.refused(pdu), "", pdu)
        self.assertEqual(self.bodies(room.room_id), [])
        # What was wrong was the event, and not the room.
        self.assertEqual(self.refused(room.build()), "")

    def test_forged_events_are_dropped(self) -> None:
        room = self.given_far_room()
        impostor = EventSigner("far.example", "ed25519:far", SigningKey(b"i" * 32))
        unknown = EventSigner("far.example", "ed25519:unknown", SigningKey(b"i" * 32))
        unsigned = orjson.loads(room.build().json)
        unsigned["signatures"] = {}
        by_another = orjson.loads(room.build().json)
        by_another["signatures"] = {"other.example": by_another["signatures"]["far.example"]}
        # In the name of alice, who is in the room, signed by a server that is not hers.
        stolen = room.build(sender=self.alice.user_id)
        self.refused_all(
            room, room.build(signer=impostor), room.build(signer=unknown), unsigned, by_another, stolen
        )

    def test_event_with_a_wrong_hash_is_taken_redacted(self) -> None:
        room = self.given_far_room()
        pdu = orjson.loads(room.build().json)
        pdu["content"]["body"] = "changed on the way"
        self.assertEqual(self.refused(pdu), "")
        self.assertEqual(self.bodies(room.room_id), [])
        event_id = quote(next(iter(self.results(self.far, "again", [pdu]))))
        path = f"/_matrix/client/v3/rooms/{quote(room.room_id)}/event/{event_id}"
        self.assertEqual(self.ok(self.get(path, self.alice))["content"], {})

    def test_events_of_others_are_taken_if_they_signed_them(self) -> None:
        room = self.given_far_room()
        other = self.given_far("other.example")
        theirs = self.given_far_join(other, room.room_id)
        event = theirs.build()
        self.assertEqual(self.results(self.far, "1", [event]), {event.event_id: {}})

    def test_event_sizes_are_limited(self) -> None:
        room = self.given_far_room()
        largest = room.build(content={"x": ""})
        room_for = 65_536 - len(largest.json)
        fits = orjson.loads(room.build(content={"x": "y" * room_for}).json)
        self.assertEqual(self.refused(fits), "")
        too_large = dict(fits, content={"x": "y" * (room_for + 1)})
        results = self.results(self.far, "1", [too_large, dict(fits, type="t" * 256)])
        # What is not an event has no ID either.
        self.assertEqual(results, {})

    def test_numbers_that_strict_rooms_do_not_have_are_refused(self) -> None:
        for number in (1.5, 2**53, -(2**53), 10**30):
            room = self.given_far_room(version="12")
            pdu = orjson.loads(room.build().json)
            pdu["content"]["x"] = number
            self.assertEqual(self.results(self.far, f"n{number}", [pdu]), {})

    def test_deep_event_keeps_away_none_beside_it(self) -> None:
        room = self.given_far_room()
        deep: Any = []
        for _ in range(600):
            deep = [deep]
        pdu = dict(orjson.loads(room.build().json), content={"x": deep})
        good = room.build()
        self.assertEqual(self.results(self.far, "1", [pdu, good]), {good.event_id: {}})

    def test_events_of_rooms_that_are_not_here_are_dropped(self) -> None:
        room = self.given_far_room()
        pdu = dict(orjson.loads(room.build().json), room_id="!elsewhere:far.example")
        self.assertEqual(self.results(self.far, "1", [pdu]), {})
        self.ok(self.post(f"/_matrix/client/v3/rooms/{quote(room.room_id)}/leave", {}, self.alice))
        event = room.build()
        self.assertIn("not in the room", self.refused(event))

    def test_event_of_one_organisation_does_not_reach_the_other(self) -> None:
        room = self.given_far_room()
        body = self.transaction([room.build()])
        answer = self.ask(self.far, "PUT", f"{V1}send/1", body, destination=TWO)
        self.assertEqual(self.ok(answer), {"pdus": {}})
        self.assertEqual(self.bodies(room.room_id), [])

    def test_time_beyond_the_key_is_refused_and_any_other_taken(self) -> None:
        room = self.given_far_room()
        self.assertIn("no key", self.refused(room.build(origin_server_ts=NOW_MS + 30 * DAY_MS)))
        self.assertIn("no key", self.refused(room.build(origin_server_ts=2**53 - 1)))
        for time in (0, -(2**53) + 1, NOW_MS - 3650 * DAY_MS, NOW_MS + DAY_MS):
            self.assertEqual(self.refused(room.build(origin_server_ts=time)), "")
        # Clients get all of them.
        self.assertEqual(len(self.bodies(room.room_id)), 4)

    def test_banned_server_is_not_heard(self) -> None:
        room = self.given_far_room()
        acl = {"allow": ["*"], "deny": ["far.*"]}
        path = f"/_matrix/client/v3/rooms/{quote(room.room_id)}/state/m.room.server_acl"
        self.ok(self.call("PUT", path, acl, self.alice))
        self.assertIn("banned", self.refused(room.build()))
        typing = {"room_id": room.room_id, "user_id": self.far.user, "typing": True}
        receipt = {
            room.room_id: {
                "m.read": {self.far.user: {"event_ids": [room.member.event_id], "data": {"ts": 1}}}
            }
        }
        edus = [
            {"edu_type": "m.typing", "content": typing},
            {"edu_type": "m.receipt", "content": receipt},
        ]
        self.assertEqual(self.ephemeral(room, edus), [])
        self.ok(self.call("PUT", path, {"allow": ["*"]}, self.alice))
        self.assertEqual(self.ephemeral(room, edus), ["m.receipt", "m.typing"])

    def ephemeral(self, room: FarRoom, edus: list[Any]) -> list[str]:
        self.ok(self.send(self.far, f"t{self._random.getrandbits(60)}", [], edus))
        sync = self.ok(self.get("/_matrix/client/v3/sync", self.alice))
        events = sync["rooms"]["join"][room.room_id]["ephemeral"]["events"]
        return sorted(event["type"] for event in events)

    def test_nobody_speaks_for_users_of_others(self) -> None:
        room = self.given_far_room()
        alice, far = self.alice.user_id, self.far.user
        contents = {
            "m.typing": {"room_id": room.room_id, "user_id": alice, "typing": True},
            "m.receipt": {
                room.room_id: {"m.read": {alice: {"event_ids": [room.member.event_id], "data": {"ts": 1}}}}
            },
            "m.presence": {"push": [{"user_id": alice, "presence": "unavailable", "last_active_ago": 1}]},
            "m.direct_to_device": {
                "sender": alice,
                "type": "m.x",
                "message_id": "1",
                "messages": {alice: {"*": {}}},
            },
            "m.device_list_update": {"user_id": alice, "device_id": "X", "stream_id": 1},
        }
        edus = [{"edu_type": kind, "content": content} for kind, content in contents.items()]
        self.assertEqual(self.ephemeral(room, edus), [])
        sync = self.ok(self.get("/_matrix/client/v3/sync", self.alice))
        self.assertEqual(sync.get("to_device", {}).get("events", []), [])
        text = self.organisations[ONE].core.metrics.render().decode()
        for kind in contents:
            self.assertIn(
                f'popcube_federation_received_edus_total{{result="dropped",type="{kind}"}} 1.0', text, far
            )

    def test_long_lists_of_receipts_are_cut(self) -> None:
        room = self.given_far_room()
        receipt = {"m.read": {self.far.user: {"event_ids": [room.member.event_id], "data": {"ts": 1}}}}
        # What is sent is sorted: these come first, or last.
        others = {f"! {number}:one.example": receipt for number in range(1_000)}
        late = {"edu_type": "m.receipt", "content": {**others, room.room_id: receipt}}
        self.assertEqual(self.ephemeral(room, [late]), [])
        others = {f"!~{number}:one.example": receipt for number in range(1_000)}
        early = {"edu_type": "m.receipt", "content": {room.room_id: receipt, **others}}
        self.assertEqual(self.ephemeral(room, [early]), ["m.receipt"])

    def test_receipts_of_threads_that_are_made_up_are_dropped(self) -> None:
        room = self.given_far_room()
        event_id = room.member.event_id

        def receipt(thread_id: str) -> dict[str, Any]:
            read = {"event_ids": [event_id], "data": {"ts": 1, "thread_id": thread_id}}
            return {"edu_type": "m.receipt", "content": {room.room_id: {"m.read": {self.far.user: read}}}}

        self.assertEqual(self.ephemeral(room, [receipt(f"$made{number}") for number in range(3)]), [])
        self.assertEqual(self.ephemeral(room, [receipt("main")]), ["m.receipt"])
        self.assertEqual(self.ephemeral(room, [receipt(event_id)]), ["m.receipt"])

    def test_messages_to_nobody_leave_nothing_behind(self) -> None:
        self.given_far_room()
        for number, device_id in enumerate(("NONE", "NEITHER", "*")):
            content = {
                "sender": self.far.user,
                "type": "m.x",
                "message_id": str(number),
                "messages": {self.alice.user_id: {device_id: {}}},
            }
            edu = {"edu_type": "m.direct_to_device", "content": content}
            self.ok(self.send(self.far, f"t{number}", [], [edu]))
        remembered = "SELECT COUNT(*) FROM received_to_device"
        core = self.organisations[ONE].core
        count = self.successResultOf(
            Deferred.fromCoroutine(core.database.read(lambda tx: tx.value(remembered)))
        )
        self.assertEqual(count, 1)

    def test_long_lists_of_presence_are_cut(self) -> None:
        room = self.given_far_room()
        eve = {"user_id": self.far.user, "presence": "online", "last_active_ago": 1}
        others = [dict(eve, user_id=f"@u{number}:far.example") for number in range(100)]
        self.assertEqual(self.seen_online(room, [*others, eve]), [])
        self.assertEqual(self.seen_online(room, [*others[:99], eve]), [self.far.user])

    def seen_online(self, room: FarRoom, push: list[Any]) -> list[str]:
        self.ephemeral(room, [{"edu_type": "m.presence", "content": {"push": push}}])
        events = (
            self.ok(self.get("/_matrix/client/v3/sync", self.alice)).get("presence", {}).get("events", [])
        )
        return [event["sender"] for event in events if event["sender"] != self.alice.user_id]

    def test_long_history_of_a_device_list_is_refused(self) -> None:
        room = self.given_far_room()
        for count, result in ((100, "taken"), (101, "dropped")):
            content = {
                "user_id": self.far.user,
                "device_id": "X",
                "stream_id": 500 + count,
                "prev_id": list(range(count)),
            }
            self.ephemeral(room, [{"edu_type": "m.device_list_update", "content": content}])
            text = self.organisations[ONE].core.metrics.render().decode()
            self.assertIn(f'_edus_total{{result="{result}",type="m.device_list_update"}} 1.0', text)

    def test_message_to_a_device_has_a_size(self) -> None:
        for length, count in ((60_000, 1), (66_000, 1)):
            content = {
                "sender": self.far.user,
                "type": "m.x",
                "message_id": f"m{length}",
                "messages": {self.alice.user_id: {"*": {"x": "y" * length}}},
            }
            edus = [{"edu_type": "m.direct_to_device", "content": content}]
            self.ok(self.send(self.far, f"t{length}", [], edus))
            events = self.ok(self.get("/_matrix/client/v3/sync", self.alice))["to_device"]["events"]
            self.assertEqual(len(events), count)


class FetchingTests(ReceivingCase):
    """What another server answers when it is asked."""

    MISSING = f"{V1}get_missing_events"

    def given_gap(self, room: FarRoom) -> Any:
        return room.build(prev=[room.build()])

    def test_few_things_of_one_server_are_fetched_at_a_time(self) -> None:
        rooms = [self.given_far_room() for _ in range(6)]
        gates: list[Any] = []

        def answer(request: Any) -> Any:
            gates.append(Deferred())
            return gates[-1]

        self.far.answers[self.MISSING] = answer
        pending = self.begin_send(self.far, "1", [self.given_gap(room) for room in rooms])
        self.assertEqual(len(gates), 3)
        other = self.given_far("other.example")
        theirs = self.given_far_join(other, rooms[0].room_id)
        other.answers[self.MISSING] = answer
        slow = self.begin_send(other, "1", [self.given_gap(theirs)])
        self.assertEqual(len(gates), 4)
        self.clock.advance(5)
        self.ok(self.finish(pending))
        self.ok(self.finish(slow))
        while gates:
            gates.pop().callback(found({"errcode": "M_FORBIDDEN"}, 403))
        self.assertEqual(self.far.asked(self.MISSING), 6)

    def test_answers_that_go_round_end(self) -> None:
        room = self.given_far_room(version="1")
        # Only where event IDs can be chosen do events stand on each other.
        first = room.build()
        second = room.build(prev=[first])
        turned = orjson.loads(first.json)
        turned["prev_events"] = [[second.event_id, {"sha256": "A" * 43}]]
        calls: list[int] = []

        def answer(request: Any) -> Any:
            calls.append(1)
            return found({"events": [turned, orjson.loads(second.json)]})

        self.far.answers[self.MISSING] = answer
        third = room.build(prev=[second])
        self.send(self.far, "1", [third])
        self.assertLessEqual(len(calls), 4)

    def test_useless_answers_are_asked_for_a_few_times_only(self) -> None:
        room = self.given_far_room()
        event = room.member
        chain = []
        for _ in range(400):
            event = room.build(prev=[event])
            chain.append(event)
        served: list[int] = []

        def answer(request: Any) -> Any:
            # Always the one before: the far server would go on for ever.
            served.append(1)
            return found({"events": [orjson.loads(chain[-1 - len(served)].json)]})

        self.far.answers[self.MISSING] = answer
        self.refused = self.results(self.far, "1", [chain[-1]])
        self.assertEqual(len(served), 4)
        self.assertIn("error", self.refused[chain[-1].event_id])

    def test_answer_with_more_than_was_asked_for_is_cut(self) -> None:
        room = self.given_far_room()
        late = self.given_gap(room)
        noise = [{"x": number} for number in range(100_000)]
        self.far.answers[self.MISSING] = lambda request: found({"events": noise})
        self.far.answers[f"{V1}state_ids"] = lambda request: found({"pdu_ids": noise, "auth_chain_ids": []})
        results = self.results(self.far, "1", [late])
        self.assertIn("error", results[late.event_id])
        self.assertEqual(self.bodies(room.room_id), [])

    def test_answer_that_is_larger_than_it_can_be_is_not_read(self) -> None:
        room = self.given_far_room()
        hidden = room.build()
        late = room.build(prev=[hidden])
        for spaces, is_taken in ((4 * 1024 * 1024, False), (60_000, True)):
            body = b'{"events":[%b]}%b' % (hidden.json, b" " * spaces)
            self.far.answers[self.MISSING] = lambda request, body=body: found(body)  # type: ignore[misc]
            results = self.results(self.far, f"t{spaces}", [late])
            self.assertEqual(results[late.event_id] == {}, is_taken)

    def test_event_whose_ancestors_take_too_long_together_is_given_up(self) -> None:
        room = self.given_far_room()
        hidden = room.build()
        late = room.build(prev=[hidden])
        self.far.answers[self.MISSING] = lambda request: found({"events": [orjson.loads(hidden.json)]})
        with patch.object(receive_pdu, "MAX_FETCHING_MS", -1):
            results = self.results(self.far, "1", [late])
        self.assertIn("too long", results[late.event_id]["error"])
        self.assertEqual(self.results(self.far, "2", [late]), {late.event_id: {}})


class ManyUsersTests(ReceivingCase):
    def test_few_users_of_other_servers_type_in_a_room(self) -> None:
        room = self.given_far_room()
        other = self.given_far("other.example")
        self.given_far_join(other, room.room_id)
        with patch.object(receive_typing, "MAX_TYPING", 1):
            for far in (self.far, other):
                content = {"room_id": room.room_id, "user_id": far.user, "typing": True}
                self.ok(self.send(far, "1", [], [{"edu_type": "m.typing", "content": content}]))
        events = self.ok(self.get("/_matrix/client/v3/sync", self.alice))["rooms"]["join"][room.room_id]
        typing = [event for event in events["ephemeral"]["events"] if event["type"] == "m.typing"]
        self.assertEqual(typing[0]["content"]["user_ids"], [self.far.user])

    def test_few_device_lists_are_fetched_at_a_time(self) -> None:
        asked: list[str] = []

        class SilentServers:
            async def devices(self, user_id: str) -> dict[str, Any]:
                asked.append(user_id)
                return await Deferred()

        core = self.organisations[ONE].core
        lists = RemoteDeviceLists(SilentServers(), core.database, core.committer)
        for number in range(MAX_RESYNCS + 5):
            lists.resync(f"@u{number}:far.example")
            lists.resync(f"@u{number}:far.example")
        self.assertEqual(len(asked), MAX_RESYNCS)
        self.successResultOf(Deferred.fromCoroutine(lists.stop()))
