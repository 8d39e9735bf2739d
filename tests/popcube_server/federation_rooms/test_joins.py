"""Joining through residents that are gone or lying; and what this server tells those who join through it."""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

from federation.room_dag.event import Event, decode_pdu, parse_event
from tests.federation.room_dag.builders import RoomBuilder, given_room
from tests.popcube_server.federation_rooms.memberships_case import FAR, ONE, TWO, V2, MembershipsCase
from tests.popcube_server.server_case import NO_LIMITS, TestUser
from tests.support.far_server import FarAnswer, FarCall, FarServer, Gone, Refused

EVE = f"@eve:{FAR}"
MALLORY = "@mallory:third.example"


class Resident:
    """Answers joins of a room of `RoomBuilder`; `lie` changes the answer to send_join."""

    def __init__(self, far: FarServer, room: RoomBuilder) -> None:
        self.room = room
        self.lie: Callable[[dict[str, Any]], Any] = lambda answer: answer
        self.version = room.rules.version
        self.joined: list[Event] = []
        far.answers["v1/make_join"] = self.make_join
        far.answers["v2/send_join"] = self.send_join

    def make_join(self, call: FarCall) -> Any:
        user_id = call.arguments[1]
        event = self.room.build("m.room.member", user_id, {"membership": "join"}, user_id)
        pdu = decode_pdu(event)
        return {"room_version": self.version, "event": pdu}

    def send_join(self, call: FarCall) -> Any:
        event = parse_event(call.body, self.room.rules)
        state = self.room.state_before(event.prev_events)
        if event.event_id not in self.room.events.by_id:
            self.room.add(event)
        self.joined.append(event)
        answer = {
            "event": call.body,
            "state": self.pdus(state.values()),
            "auth_chain": self.pdus(each for each in self.room.events.by_id if each != event.event_id),
            "members_omitted": False,
            "origin": FAR,
        }
        return self.lie(answer)

    def pdus(self, event_ids: Iterable[str]) -> list[Any]:
        return [decode_pdu(self.room.events.get(event_id)) for event_id in event_ids]


def refusing(status: int, errcode: str, **body: Any) -> FarAnswer:
    def refuse(call: FarCall) -> Any:
        refused = Refused(status, errcode)
        refused.body.update(body)
        raise refused

    return refuse


class LyingResidentTests(MembershipsCase):
    def given_resident(self, version: str = "10") -> tuple[Resident, str]:
        room = given_room(version, EVE)
        self.resident = Resident(self.given_far(), room)
        return self.resident, room.create.room_id

    def join_far(self, user: TestUser, room_id: str) -> tuple[int, Any]:
        return self.join(user, room_id, FAR)

    def assert_not_joined(self, answer: tuple[int, Any], room_id: str, why: str) -> None:
        self.assertEqual((answer[0], answer[1].get("errcode")), (404, "M_NOT_FOUND"), why)
        self.assertNotIn(room_id, self.synced_rooms(self.alice, "join"), why)

    def test_honest_resident_is_joined_through(self) -> None:
        for version in ("10", "12"):
            resident, room_id = self.given_resident(version)
            self.ok(self.join_far(self.alice, room_id))
            self.assertEqual(self.members(self.alice, room_id), {EVE, self.alice.user_id})
            self.assertEqual(len(resident.joined), 1)

    def test_wrong_states_are_not_believed(self) -> None:
        for version in ("10", "12"):
            resident, room_id = self.given_resident(version)
            other = given_room(version, EVE, unlike=True)
            foreign = given_room(version, MALLORY)
            foreign_pdus = [decode_pdu(each) for each in foreign.events.by_id.values()]
            lies: dict[str, Callable[[dict[str, Any]], Any]] = {
                "no create event": lambda answer: (
                    answer | {"state": [each for each in answer["state"] if each["type"] != "m.room.create"]}
                ),
                "create event of another room": lambda answer, other=other: (
                    answer  # type: ignore[misc]
                    | {
                        "state": [
                            decode_pdu(other.create),
                            *(each for each in answer["state"] if each["type"] != "m.room.create"),
                        ]
                    }
                ),
                "everything of another room": lambda answer, pdus=foreign_pdus: (
                    answer  # type: ignore[misc]
                    | {"state": pdus, "auth_chain": pdus}
                ),
                "no auth events": lambda answer: answer | {"auth_chain": [], "state": answer["state"][:1]},
                "unsigned": lambda answer: (
                    answer
                    | {
                        "state": [each | {"signatures": {}} for each in answer["state"]],
                        "auth_chain": [each | {"signatures": {}} for each in answer["auth_chain"]],
                    }
                ),
                "one entry twice": lambda answer: answer | {"state": [*answer["state"], *self.twice()]},
                "not lists": lambda answer: answer | {"state": {}, "auth_chain": 3},
                "not events": lambda answer: answer | {"state": [None, 1, {}], "auth_chain": [[]]},
                "members left out": lambda answer: answer | {"members_omitted": True},
                "nothing": lambda answer: {},
                "a list": lambda answer: [answer],
            }
            for why, lie in lies.items():
                resident.lie = lie
                self.assert_not_joined(self.join_far(self.alice, room_id), room_id, f"{why}, {version}")
                self.clock.advance(1)
            resident.lie = lambda answer: answer
            self.ok(self.join_far(self.alice, room_id))
            self.assertEqual(self.members(self.alice, room_id), {EVE, self.alice.user_id})

    def twice(self) -> list[Any]:
        """Another event of an entry that the state has already."""
        rules = self.resident.room.build("m.room.join_rules", EVE, {"join_rule": "public"}, "")
        return [decode_pdu(rules)]

    def test_state_that_does_not_allow_the_join_is_not_believed(self) -> None:
        resident, room_id = self.given_resident()
        closed = resident.room.build("m.room.join_rules", EVE, {"join_rule": "invite"}, "")

        def close(answer: dict[str, Any]) -> Any:
            state = [each for each in answer["state"] if each["type"] != "m.room.join_rules"]
            return answer | {"state": [*state, decode_pdu(closed)]}

        resident.lie = close
        self.assert_not_joined(self.join_far(self.alice, room_id), room_id, "a closed room")

    def test_events_that_nobody_can_judge_are_left_out_of_the_state(self) -> None:
        resident, room_id = self.given_resident()
        stranger = given_room("10", MALLORY)
        forged = resident.room.build("m.room.name", EVE, {"name": "real"}, "")
        resident.lie = lambda answer: (
            answer
            | {
                "state": [
                    *answer["state"],
                    decode_pdu(forged) | {"signatures": {FAR: {"ed25519:test": "A" * 86}}},
                    decode_pdu(stranger.build("m.room.topic", MALLORY, {"topic": "x"}, "")),
                ]
            }
        )
        self.ok(self.join_far(self.alice, room_id))
        self.assertEqual(self.get(self.room_path(room_id, "state/m.room.name"), self.alice)[0], 404)
        self.assertEqual(self.get(self.room_path(room_id, "state/m.room.topic"), self.alice)[0], 404)

    def test_templates_of_something_else_are_not_signed(self) -> None:
        resident, room_id = self.given_resident()
        far = self.network.far_servers[FAR]
        assert isinstance(far, FarServer)
        good = resident.make_join

        def wrong(changes: dict[str, Any]) -> FarAnswer:
            def make(call: FarCall) -> Any:
                answer = good(call)
                return answer | {"event": answer["event"] | changes}

            return make

        for changes in (
            {"type": "m.room.message"},
            {"sender": self.bob.user_id},
            {"state_key": self.bob.user_id},
            {"room_id": "!other:far.example"},
            {"content": {"membership": "leave"}},
            {"content": None},
            {"prev_events": "$x"},
            {"auth_events": [1]},
            {"depth": "deep"},
            {"depth": -1},
        ):
            far.answers["v1/make_join"] = wrong(changes)
            self.assert_not_joined(self.join_far(self.alice, room_id), room_id, str(changes))
        for version in ("0", "org.example.strange", 7):
            resident.version = version  # type: ignore[assignment]
            far.answers["v1/make_join"] = good
            self.assert_not_joined(self.join_far(self.alice, room_id), room_id, str(version))
        self.assertEqual(resident.joined, [])

    def test_room_that_changes_its_version_is_not_joined_again(self) -> None:
        resident, room_id = self.given_resident("10")
        self.ok(self.join_far(self.alice, room_id))
        self.ok(self.leave(self.alice, room_id))
        self.clock.advance(1)
        # Another room that calls itself the same.
        other = Resident(self.given_far(), given_room("11", EVE))
        self.assertEqual(other.room.create.room_id, room_id)
        self.assertEqual(self.join_far(self.alice, room_id)[0], 404)
        self.assertEqual(other.joined, [])
        far = self.network.far_servers[FAR]
        assert isinstance(far, FarServer)
        Resident(far, resident.room)
        self.ok(self.join_far(self.alice, room_id))

    def test_room_that_changes_its_beginning_is_not_joined_again(self) -> None:
        resident, room_id = self.given_resident("10")
        self.ok(self.join_far(self.alice, room_id))
        self.ok(self.leave(self.alice, room_id))
        self.clock.advance(1)
        far = self.given_far()
        other = Resident(far, given_room("10", EVE, another=True))
        self.assertEqual(other.room.create.room_id, room_id)
        self.assert_not_joined(self.join_far(self.alice, room_id), room_id, "another create event")
        Resident(far, resident.room)
        self.ok(self.join_far(self.alice, room_id))

    def test_endless_answer_is_not_read(self) -> None:
        resident, room_id = self.given_resident()
        resident.lie = lambda answer: answer | {"more": "x" * (51 * 1024 * 1024)}
        self.assert_not_joined(self.join_far(self.alice, room_id), room_id, "an endless answer")


class SeveralServersTests(MembershipsCase):
    def setUp(self) -> None:
        super().setUp()
        self.room = given_room("10", EVE)
        self.room_id = self.room.create.room_id
        self.far = self.given_far()
        self.resident = Resident(self.far, self.room)

    def test_servers_are_asked_in_turn_until_one_helps(self) -> None:
        second = self.given_far("second.example")
        second.answers["v1/make_join"] = refusing(404, "M_NOT_FOUND")
        self.network.down.add("third.example")
        path = f"/_matrix/client/v3/join/{quote(self.room_id)}?via=third.example&via=second.example&via={FAR}"
        self.ok(self.patiently("POST", path, {}, self.alice))
        self.assertEqual(self.members(self.alice, self.room_id), {EVE, self.alice.user_id})

    def test_resident_that_dies_in_the_middle_is_followed_by_the_next(self) -> None:
        second = self.given_far("second.example")
        other = Resident(second, self.room)

        def die(call: FarCall) -> Any:
            self.resident.send_join(call)
            raise Gone

        self.far.answers["v2/send_join"] = die
        path = f"/_matrix/client/v3/join/{quote(self.room_id)}?via={FAR}&via=second.example"
        self.ok(self.patiently("POST", path, {}, self.alice))
        self.assertEqual(len(other.joined), 1)
        self.assertEqual(self.members(self.alice, self.room_id), {EVE, self.alice.user_id})

    def test_join_that_was_half_finished_is_finished_later(self) -> None:
        def die(call: FarCall) -> Any:
            self.resident.send_join(call)
            raise Gone

        self.far.answers["v2/send_join"] = die
        path = f"/_matrix/client/v3/join/{quote(self.room_id)}?via={FAR}"
        answer = self.patiently("POST", path, {}, self.alice)
        self.assert_refused(answer, 404, "M_NOT_FOUND")
        self.assertNotIn(self.room_id, self.synced_rooms(self.alice, "join"))
        self.far.answers["v2/send_join"] = self.resident.send_join
        self.ok(self.patiently("POST", path, {}, self.alice))
        self.assertEqual(self.members(self.alice, self.room_id), {EVE, self.alice.user_id})

    def test_most_telling_refusal_is_told(self) -> None:
        second = self.given_far("second.example")
        second.answers["v1/make_join"] = refusing(404, "M_NOT_FOUND")
        for errcode, status in (
            ("M_FORBIDDEN", 403),
            ("M_UNABLE_TO_AUTHORISE_JOIN", 400),
            ("M_UNABLE_TO_GRANT_JOIN", 400),
        ):
            self.far.answers["v1/make_join"] = refusing(status, errcode)
            answer = self.join(self.alice, self.room_id, FAR, "second.example")
            self.assert_refused(answer, status, errcode)

    def test_server_that_cannot_grant_is_followed_by_one_that_can(self) -> None:
        second = self.given_far("second.example")
        second.answers["v1/make_join"] = refusing(400, "M_UNABLE_TO_GRANT_JOIN")
        self.ok(self.join(self.alice, self.room_id, "second.example", FAR))

    def test_unknown_version_is_told_with_its_name(self) -> None:
        self.far.answers["v1/make_join"] = refusing(
            400, "M_INCOMPATIBLE_ROOM_VERSION", room_version="org.example.future"
        )
        answer = self.join(self.alice, self.room_id, FAR)
        self.assert_refused(answer, 400, "M_INCOMPATIBLE_ROOM_VERSION")
        self.assertEqual(answer[1]["room_version"], "org.example.future")
        self.assertIn("ver=12", self.far.calls[0].uri)

    def test_two_users_make_one_handshake(self) -> None:
        carol = self.given_user("carol")
        self.far.answers["v1/make_join"] = refusing(403, "M_FORBIDDEN")
        self.assert_refused(self.join(self.alice, self.room_id, FAR), 403, "M_FORBIDDEN")
        self.far.answers["v1/make_join"] = self.resident.make_join
        self.network.requests.clear()
        path = f"/_matrix/client/v3/join/{quote(self.room_id)}?via={FAR}"
        self.network.silent.add(FAR)
        waiting = [self.begin("POST", path, {}, user) for user in (self.alice, carol)]
        self.clock.advance(5)
        for pending in waiting:
            self.assert_waiting(pending)
        self.assertEqual(self.handshakes(), 1)
        # Alice's time runs out; then carol's turn comes.
        self.clock.advance(60)
        self.assert_refused(self.finish(waiting[0]), 404, "M_NOT_FOUND")
        self.assertEqual(self.handshakes(), 2)
        self.network.silent.clear()
        self.clock.advance(60)
        self.finish(waiting[1])
        self.network.requests.clear()
        for pending in [self.begin("POST", path, {}, user) for user in (self.alice, carol)]:
            self.ok(self.finish(pending))
        self.assertEqual(self.handshakes(), 1)
        self.assertEqual(self.members(self.alice, self.room_id), {EVE, self.alice.user_id, carol.user_id})

    def handshakes(self) -> int:
        return len([uri for _, _, uri in self.network.requests if "make_join" in uri])


class ResidentTests(MembershipsCase):
    """`one.example` lets others in."""

    def setUp(self) -> None:
        super().setUp()
        self.far = self.given_far()

    def joined(self, room_id: str, query: str) -> Any:
        return self.ok(self.member_as(self.far, "join", room_id, EVE, query))

    def types(self, pdus: list[Any]) -> set[tuple[str, str]]:
        return {(pdu["type"], pdu["state_key"]) for pdu in pdus}

    def test_whole_state_of_before_the_join(self) -> None:
        room_id = self.given_room(self.alice, name="Den")
        answer = self.joined(room_id, "")
        types = self.types(answer["state"])
        self.assertIn(("m.room.member", self.alice.user_id), types)
        self.assertNotIn(("m.room.member", EVE), types)
        self.assertFalse(answer["members_omitted"])
        self.assertNotIn("servers_in_room", answer)
        self.assertEqual(answer["event"]["state_key"], EVE)
        self.assert_complete(answer)

    def test_members_are_left_out_if_that_is_wanted(self) -> None:
        for version in ("6", "12"):
            room_id = self.given_room(self.alice, name="Den", room_version=version)
            self.ok(self.join(self.bob, room_id))
            answer = self.joined(room_id, "?omit_members=true")
            self.assertNotIn("m.room.member", {event_type for event_type, _ in self.types(answer["state"])})
            self.assertTrue(answer["members_omitted"])
            # "before the join"
            self.assertEqual(answer["servers_in_room"], [ONE, TWO])
            self.assert_complete(answer)
            state = {str(pdu) for pdu in answer["state"]}
            self.assertFalse([pdu for pdu in answer["auth_chain"] if str(pdu) in state])

    def test_heroes_of_a_room_without_a_name_are_there(self) -> None:
        room_id = self.given_room(self.alice)
        self.ok(self.join(self.bob, room_id))
        answer = self.joined(room_id, "?omit_members=true")
        members = {key for event_type, key in self.types(answer["state"]) if event_type == "m.room.member"}
        self.assertEqual(members, {self.alice.user_id, self.bob.user_id})
        self.assert_complete(answer)

    def assert_complete(self, answer: Any) -> None:
        """All auth events of the state and of the join are in the answer."""
        rules = answer["event"]
        known = [*answer["state"], *answer["auth_chain"]]
        version = next(pdu for pdu in known if pdu["type"] == "m.room.create")["content"]["room_version"]
        room_rules = RoomBuilder(version).rules
        events = {event.event_id: event for event in (parse_event(pdu, room_rules) for pdu in known)}
        needed = set(parse_event(rules, room_rules).auth_events)
        for event in events.values():
            needed |= set(event.auth_events)
        self.assertEqual(needed - events.keys(), set())

    def test_same_join_twice_has_the_same_answer(self) -> None:
        room_id = self.given_room(self.alice, name="Den")
        event = self.built_as(self.far, self.ok(self.template_as(self.far, "join", room_id, EVE)))
        uri = f"{V2}send_join/{quote(room_id)}/{quote(event.event_id)}"
        first = self.ok(self.ask_as(self.far, "PUT", uri, decode_pdu(event)))
        second = self.ok(self.ask_as(self.far, "PUT", uri, decode_pdu(event)))
        self.assertEqual(self.types(first["state"]), self.types(second["state"]))

    def test_join_that_was_changed_after_it_was_signed_is_refused(self) -> None:
        room_id = self.given_room(self.alice, name="Den")
        event = self.built_as(self.far, self.ok(self.template_as(self.far, "join", room_id, EVE)))
        uri = f"{V2}send_join/{quote(room_id)}/{quote(event.event_id)}"
        pdu = decode_pdu(event)
        # Its signature covers what redaction keeps; other servers would see the rest redacted.
        changed = pdu | {"content": pdu["content"] | {"displayname": "Eve"}}
        self.assert_refused(self.ask_as(self.far, "PUT", uri, changed), 400, "M_INVALID_PARAM")
        self.assertEqual(self.members(self.alice, room_id), {self.alice.user_id})
        self.ok(self.ask_as(self.far, "PUT", uri, pdu))
        self.assertEqual(self.members(self.alice, room_id), {self.alice.user_id, EVE})

    def test_restricted_room_whose_conditions_cannot_be_known(self) -> None:
        allow = [{"type": "m.room_membership", "room_id": "!elsewhere:far.example"}]
        rule = {
            "type": "m.room.join_rules",
            "content": {"join_rule": "restricted", "allow": allow},
        }
        room_id = self.given_room(self.alice, initial_state=[rule])
        answer = self.member_as(self.far, "join", room_id, EVE)
        self.assert_refused(answer, 400, "M_UNABLE_TO_AUTHORISE_JOIN")

    def test_restricted_room_where_nobody_here_may_invite(self) -> None:
        for join_rule, version in (("restricted", "9"), ("knock_restricted", "11")):
            space = self.given_room(self.alice, room_version=version)
            self.ok(self.member_as(self.far, "join", space, EVE))
            allow = [{"type": "m.room_membership", "room_id": space}]
            rule = {"type": "m.room.join_rules", "content": {"join_rule": join_rule, "allow": allow}}
            room_id = self.given_room(self.alice, initial_state=[rule], room_version=version)
            levels = self.ok(self.get(self.room_path(room_id, "state/m.room.power_levels/"), self.alice))
            levels["invite"] = 101
            levels["users"][self.alice.user_id] = 100
            self.ok(self.set_state(self.alice, room_id, "m.room.power_levels", {**levels, "invite": 100}))
            self.ok(self.member_as(self.far, "join", room_id, EVE))
            lower = {**levels, "invite": 100, "users": {self.alice.user_id: 50}}
            self.ok(self.set_state(self.alice, room_id, "m.room.power_levels", lower))
            answer = self.member_as(self.far, "join", room_id, f"@frank:{FAR}")
            self.assertEqual(answer[0], 403)
            self.ok(self.member_as(self.far, "join", space, f"@frank:{FAR}"))
            answer = self.member_as(self.far, "join", room_id, f"@frank:{FAR}")
            self.assert_refused(answer, 400, "M_UNABLE_TO_GRANT_JOIN")

    def test_knock_through_us_is_answered_with_the_create_event(self) -> None:
        rule = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
        room_id = self.given_room(self.alice, name="Door", initial_state=[rule])
        answer = self.ok(self.member_as(self.far, "knock", room_id, EVE))
        shown = {entry["type"]: entry for entry in answer["knock_room_state"]}
        self.assertLessEqual({"m.room.create", "m.room.name", "m.room.join_rules"}, shown.keys())
        for entry in shown.values():
            self.assertEqual(set(entry), {"content", "sender", "state_key", "type"})
        self.assertEqual(self.membership(self.alice, room_id, EVE), "knock")
        self.ok(self.member_as(self.far, "leave", room_id, EVE))
        self.assertEqual(self.membership(self.alice, room_id, EVE), "leave")

    def test_server_on_the_deny_list_moves_nobody(self) -> None:
        room_id = self.given_room(self.alice)
        self.ok(self.member_as(self.far, "join", room_id, EVE))
        leave = self.built_as(self.far, self.ok(self.template_as(self.far, "leave", room_id, EVE)))
        acl = {"allow": ["*"], "deny": ["far.*"]}
        self.ok(self.set_state(self.alice, room_id, "m.room.server_acl", acl))
        for membership in ("join", "knock", "leave"):
            answer = self.template_as(self.far, membership, room_id, EVE)
            self.assert_refused(answer, 403, "M_FORBIDDEN")
        uri = f"{V2}send_leave/{quote(room_id)}/{quote(leave.event_id)}"
        self.assert_refused(self.ask_as(self.far, "PUT", uri, decode_pdu(leave)), 403, "M_FORBIDDEN")
        self.assertIn("error", self.send_as(self.far, leave)[leave.event_id])
        self.assertEqual(self.membership(self.alice, room_id, EVE), "join")
        # Who is in the room may put its users out all the same.
        self.ok(self.put_out(self.alice, room_id, EVE))

    def test_server_is_not_in_the_room(self) -> None:
        room = given_room("10", EVE)
        answer = self.template_as(self.far, "join", room.create.room_id, EVE)
        self.assert_refused(answer, 404, "M_NOT_FOUND")
        room_id = self.given_room(self.alice)
        self.ok(self.leave(self.alice, room_id))
        self.assert_refused(self.template_as(self.far, "join", room_id, EVE), 404, "M_NOT_FOUND")


class UpgradeTests(MembershipsCase):
    def test_members_of_other_servers_follow_an_upgrade(self) -> None:
        old = self.given_room(self.alice, room_version="9")
        self.ok(self.join(self.bob, old))
        answer = self.ok(self.post(self.room_path(old, "upgrade"), {"new_version": "12"}, self.alice))
        new = answer["replacement_room"]
        self.wait()
        tombstone = self.ok(self.get(self.room_path(old, "state/m.room.tombstone/"), self.bob))
        self.assertEqual(tombstone["replacement_room"], new)
        self.ok(self.join(self.bob, new))
        create = self.ok(self.get(self.room_path(new, "state/m.room.create/"), self.bob))
        self.assertEqual(create["predecessor"]["room_id"], old)
        self.assertEqual(self.members(self.alice, new), {self.alice.user_id, self.bob.user_id})

    def test_user_of_another_server_upgrades(self) -> None:
        old = self.given_room(self.alice, room_version="10", preset="public_chat")
        self.ok(self.join(self.bob, old))
        levels = self.ok(self.get(self.room_path(old, "state/m.room.power_levels/"), self.alice))
        levels["users"][self.bob.user_id] = 100
        self.ok(self.set_state(self.alice, old, "m.room.power_levels", levels))
        self.wait()
        answer = self.ok(self.post(self.room_path(old, "upgrade"), {"new_version": "12"}, self.bob))
        self.wait()
        tombstone = self.ok(self.get(self.room_path(old, "state/m.room.tombstone/"), self.alice))
        self.assertEqual(tombstone["replacement_room"], answer["replacement_room"])
        self.ok(self.join(self.alice, answer["replacement_room"], TWO))


class RemoteJoinLimitTests(MembershipsCase):
    limits = NO_LIMITS.replace(
        "remote: {per_second: 10000, burst_count: 10000}", "remote: {per_second: 0.1, burst_count: 1}"
    )

    def test_joins_over_federation_have_a_limit_of_their_own(self) -> None:
        far = self.given_far()
        rooms = [given_room("10", EVE, number=number) for number in range(2)]
        local = self.given_room(self.alice)
        carol = self.given_user("carol")
        self.assertNotEqual(rooms[0].create.event_id, rooms[1].create.event_id)
        Resident(far, rooms[0])
        self.ok(self.join(carol, rooms[0].create.room_id, FAR))
        self.ok(self.join(carol, local))
        answer = self.join(carol, "!another:far.example", FAR)
        self.assert_refused(answer, 429, "M_LIMIT_EXCEEDED")
