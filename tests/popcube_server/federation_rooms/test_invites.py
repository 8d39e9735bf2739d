"""Invites over federation, in both directions, and what becomes of them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import orjson
from twisted.internet.defer import Deferred
from twisted.web.iweb import IResponse

from federation.room_dag.event import Event, decode_pdu, parse_event, sign_event
from federation.room_dag.room_versions import get_room_rules
from popcube_server.services.federation.local_users import InvitableUsers
from popcube_server.services.federation.retract_invite import ASKED_AT_ONCE
from storage.committer import CommitFailed, Committer
from storage.stripped_states import DropStripped, KeepStripped
from tests.federation.room_dag.builders import RoomBuilder, given_room
from tests.popcube_server.federation_rooms.memberships_case import FAR, ONE, TWO, V1, V3, MembershipsCase
from tests.popcube_server.federation_rooms.test_joins import Resident
from tests.popcube_server.server_case import NO_LIMITS
from tests.support.far_server import FarAnswer, FarCall, FarServer, Refused

EVE = f"@eve:{FAR}"
MALLORY = "@mallory:third.example"


def signed_by(far: FarServer, version: str, pdu: Any) -> Any:
    return decode_pdu(sign_event(parse_event(pdu, get_room_rules(version)), far.signer))


def given_chain(chain: list[Any]) -> FarAnswer:
    return lambda call: {"auth_chain": chain}


class OutgoingInvitesTests(MembershipsCase):
    def setUp(self) -> None:
        super().setUp()
        self.far = self.given_far()

    def test_first_version_is_used_where_the_second_is_unknown(self) -> None:
        def sign_v1(call: FarCall) -> Any:
            state = call.body.pop("unsigned")["invite_room_state"]
            self.assertEqual(set(state[0]), {"content", "sender", "state_key", "type"})
            return [200, {"event": signed_by(self.far, "2", call.body)}]

        self.far.answers["v1/invite"] = sign_v1
        room_id = self.given_room(self.alice, room_version="2")
        self.ok(self.invite(self.alice, room_id, EVE))
        self.assertEqual(self.far.asked, ["v2/invite", "v1/invite"])
        self.assertEqual(self.membership(self.alice, room_id, EVE), "invite")

    def test_first_version_is_not_used_for_newer_rooms(self) -> None:
        self.far.answers["v1/invite"] = lambda call: [200, {"event": call.body}]
        room_id = self.given_room(self.alice, room_version="3")
        self.assert_refused(self.invite(self.alice, room_id, EVE), 502, "M_UNKNOWN")
        self.assertEqual(self.far.asked, ["v2/invite"])

    def test_refusal_of_the_second_version_is_told_if_the_first_is_unknown(self) -> None:
        def refuse(call: FarCall) -> Any:
            raise Refused(404, "M_NOT_FOUND", "Nobody of that name.")

        self.far.answers["v2/invite"] = refuse
        room_id = self.given_room(self.alice, room_version="1")
        self.assert_refused(self.invite(self.alice, room_id, EVE), 404, "M_NOT_FOUND")
        self.assertIsNone(self.membership(self.alice, room_id, EVE))

    def test_invite_shows_full_events_with_the_create_event(self) -> None:
        for version in ("6", "11", "12"):
            seen: list[Any] = []

            def sign(call: FarCall, seen: list[Any] = seen, version: str = version) -> Any:
                seen.append(call.body)
                return {"event": signed_by(self.far, version, call.body["event"])}

            self.far.answers["v2/invite"] = sign
            room_id = self.given_room(self.alice, room_version=version, name="Den")
            self.ok(self.invite(self.alice, room_id, EVE))
            state = seen[0]["invite_room_state"]
            events = [parse_event(pdu, get_room_rules(version)) for pdu in state]
            self.assertEqual({event.room_id for event in events}, {room_id})
            types = {event.type for event in events}
            self.assertLessEqual({"m.room.create", "m.room.name", "m.room.member"}, types)
            self.assertEqual(seen[0]["room_version"], version)

    def test_unreachable_server_is_a_clear_error_and_leaves_nothing(self) -> None:
        room_id = self.given_room(self.alice)
        self.network.down.add(FAR)
        path = self.room_path(room_id, "invite")
        answer = self.patiently("POST", path, {"user_id": EVE}, self.alice)
        self.assert_refused(answer, 502, "M_UNKNOWN")
        self.assertIn(FAR, answer[1]["error"])
        self.assertIsNone(self.membership(self.alice, room_id, EVE))
        self.restart(ONE)
        self.assertIsNone(self.membership(self.alice, room_id, EVE))

    def test_answer_with_another_event_is_not_used(self) -> None:
        room_id = self.given_room(self.alice, room_version="10")

        def change(call: FarCall) -> Any:
            return {"event": {**call.body["event"], "content": {"membership": "join"}}}

        for answer in (
            change,
            lambda call: {"event": call.body["event"] | {"signatures": {}}},
            lambda call: {},
        ):
            self.far.answers["v2/invite"] = answer
            self.assert_refused(self.invite(self.alice, room_id, EVE), 502, "M_UNKNOWN")
        self.assertIsNone(self.membership(self.alice, room_id, EVE))

    def test_fault_of_the_other_server_is_not_the_clients(self) -> None:
        room_id = self.given_room(self.alice)
        for errcode in ("M_INVALID_PARAM", "M_MISSING_PARAM"):

            def refuse(call: FarCall, errcode: str = errcode) -> Any:
                raise Refused(400, errcode)

            self.far.answers["v2/invite"] = refuse
            self.assert_refused(self.invite(self.alice, room_id, EVE), 502, "M_UNKNOWN")

    def test_room_that_does_not_federate_invites_nobody_from_elsewhere(self) -> None:
        for version in ("1", "10", "12"):
            room_id = self.given_room(
                self.alice, room_version=version, creation_content={"m.federate": False}
            )
            self.assert_refused(self.invite(self.alice, room_id, EVE), 403, "M_FORBIDDEN")
            self.assert_refused(self.join(self.bob, room_id), 403, "M_FORBIDDEN")
        self.assertEqual(self.far.asked, [])

    def test_new_room_invites_users_of_other_servers(self) -> None:
        self.network.down.add("gone.example")
        invited = [self.bob.user_id, "@nobody:two.example"]
        room_id = self.given_room(self.alice, preset="private_chat", invite=invited)
        self.assertEqual(self.membership(self.alice, room_id, self.bob.user_id), "invite")
        self.assertIsNone(self.membership(self.alice, room_id, "@nobody:two.example"))
        self.assertIn(room_id, self.synced_rooms(self.bob, "invite"))


class IncomingInvitesTests(MembershipsCase):
    def setUp(self) -> None:
        super().setUp()
        self.far = self.given_far()

    def given_inviting(self, version: str = "12") -> RoomBuilder:
        return given_room(version, EVE, "invite")

    def test_wrong_events_are_invalid_and_change_nothing(self) -> None:
        room = self.given_inviting("10")
        alice, invite = self.alice.user_id, {"membership": "invite"}
        wrong = {
            "type": room.build("m.room.topic", EVE, invite, alice),
            "membership": room.build("m.room.member", EVE, {"membership": "leave"}, alice),
            "sender": room.build("m.room.member", MALLORY, invite, alice),
            "target": room.build("m.room.member", EVE, invite, self.bob.user_id),
        }
        for what, event in wrong.items():
            answer = self.invite_as(self.far, room, event)
            self.assertEqual((answer[0], answer[1]["errcode"]), (400, "M_INVALID_PARAM"), what)
        good = room.build("m.room.member", EVE, invite, alice)
        unsigned = decode_pdu(good) | {"signatures": {FAR: {"ed25519:test": "A" * 86}}}
        self.assert_refused(self.invite_as(self.far, room, good, event=unsigned), 400, "M_INVALID_PARAM")
        changed = decode_pdu(good) | {"content": invite | {"displayname": "not as signed"}}
        self.assert_refused(self.invite_as(self.far, room, good, event=changed), 400, "M_INVALID_PARAM")
        self.assert_refused(
            self.invite_as(self.far, room, good, room_version="nine"), 400, "M_INCOMPATIBLE_ROOM_VERSION"
        )
        self.assertEqual(self.synced_rooms(self.alice, "invite"), {})
        self.ok(self.invite_as(self.far, room, good))
        self.assertIn(good.room_id, self.synced_rooms(self.alice, "invite"))

    def test_state_of_new_versions_must_be_events_of_the_room(self) -> None:
        room, other = self.given_inviting(), self.given_inviting()
        event = room.build("m.room.member", EVE, {"membership": "invite"}, self.alice.user_id)
        state = [decode_pdu(room.events.get(event_id)) for event_id in room.state.values()]
        foreign = given_room("12", MALLORY).create
        stripped = {"type": "m.room.name", "state_key": "", "sender": EVE, "content": {"name": "x"}}
        rules = decode_pdu(room.events.get(room.state["m.room.join_rules", ""]))
        forged = rules | {"content": {"join_rule": "public"}, "signatures": {}}
        wrong = {
            "no create event": [pdu for pdu in state if pdu["type"] != "m.room.create"],
            "create event of another room": [decode_pdu(foreign)],
            "stripped": [*state, stripped],
            "unsigned": [*state, forged],
            "not a list": {},
            "not events": [1, None],
        }
        for what, entries in wrong.items():
            answer = self.invite_as(self.far, room, event, invite_room_state=entries)
            self.assertEqual((answer[0], answer[1]["errcode"]), (400, "M_INVALID_PARAM"), what)
        self.assert_refused(
            self.invite_as(self.far, room, event, invite_room_state=None), 400, "M_MISSING_PARAM"
        )
        self.assertEqual(self.synced_rooms(self.alice, "invite"), {})
        self.assertNotEqual(other.room_id, "")
        self.ok(self.invite_as(self.far, room, event))

    def test_old_versions_may_show_stripped_state(self) -> None:
        room = self.given_inviting("9")
        event = room.build("m.room.member", EVE, {"membership": "invite"}, self.alice.user_id)
        stripped = {"type": "m.room.name", "state_key": "", "sender": EVE, "content": {"name": "Den"}}
        self.ok(self.invite_as(self.far, room, event, invite_room_state=[stripped, 3]))
        shown = self.synced_rooms(self.alice, "invite")[event.room_id]["invite_state"]["events"]
        self.assertEqual([each["type"] for each in shown], ["m.room.name", "m.room.member"])

    def test_false_invite_keeps_no_other_one_out(self) -> None:
        carol, third = self.given_user("carol"), self.given_far("third.example")
        # Anybody may invite into a room that this server does not know, and say of it what they like.
        lie = given_room("9", EVE, "invite")
        false = lie.build("m.room.member", MALLORY, {"membership": "invite"}, carol.user_id)
        self.ok(self.invite_as(third, lie, false))
        room = self.given_inviting("10")
        self.assertEqual(room.room_id, lie.room_id)
        invite = room.build("m.room.member", EVE, {"membership": "invite"}, self.alice.user_id)
        self.ok(self.invite_as(self.far, room, invite))
        self.assertIn(invite.room_id, self.synced_rooms(self.alice, "invite"))
        room.add(invite)
        leave = room.build("m.room.member", EVE, {"membership": "leave"}, self.alice.user_id, prev=[invite])
        self.assertEqual(self.send_as(self.far, leave), {leave.event_id: {}})
        # The other one can still be turned down.
        self.assertIn(false.room_id, self.synced_rooms(carol, "invite"))
        self.ok(self.leave(carol, false.room_id))
        self.assertNotIn(false.room_id, self.synced_rooms(carol, "invite"))

    def once_before(self, owner: type, name: str, act: Callable[[], tuple[int, Any]]) -> Any:
        """Does something in the moment before an invite is written, or before a method's first call."""
        method = getattr(owner, name)
        done: list[str] = []

        async def act_first(*arguments: Any, **others: Any) -> Any:
            is_it = owner is not Committer or any(isinstance(each, KeepStripped) for each in arguments)
            if is_it and not done:
                done.append(name)
                self.ok(act())
            return await method(*arguments, **others)

        return patch.object(owner, name, act_first)

    def test_invite_does_not_undo_a_join_of_the_same_moment(self) -> None:
        moments = ((InvitableUsers, "blocks_invites"), (Committer, "commit"))
        for version, moment in zip(("10", "12"), moments, strict=True):
            room = given_room(version, EVE)
            Resident(self.far, room)
            event = room.build("m.room.member", EVE, {"membership": "invite"}, self.alice.user_id)
            with self.once_before(*moment, partial(self.join, self.alice, event.room_id, FAR)):
                self.ok(self.invite_as(self.far, room, event))
            self.assertIn(event.room_id, self.synced_rooms(self.alice, "join"))
            self.assertNotIn(event.room_id, self.synced_rooms(self.alice, "invite"))
            self.restart(ONE)
            self.assertIn(event.room_id, self.synced_rooms(self.alice, "join"))

    def test_invites_of_one_moment_are_both_taken(self) -> None:
        room = self.given_inviting("10")
        invite, alice = {"membership": "invite"}, self.alice.user_id
        first, second = (room.build("m.room.member", EVE, invite, alice, timestamp=at) for at in (1, 2))
        with self.once_before(Committer, "commit", partial(self.invite_as, self.far, room, first)):
            self.ok(self.invite_as(self.far, room, second))
        self.assertIn(room.room_id, self.synced_rooms(self.alice, "invite"))
        room.add(second)
        leave = room.build("m.room.member", EVE, {"membership": "leave"}, alice, prev=[second])
        # It ends the later one, which is what stands.
        self.assertEqual(self.send_as(self.far, leave), {leave.event_id: {}})
        self.assertEqual(self.synced_rooms(self.alice, "invite"), {})

    def test_first_version_of_the_request_is_known(self) -> None:
        room = self.given_inviting("2")
        event = room.build("m.room.member", EVE, {"membership": "invite"}, self.alice.user_id)
        create = decode_pdu(room.create)
        entry = {key: create[key] for key in ("type", "state_key", "sender", "content")}
        body = {**decode_pdu(event), "unsigned": {"invite_room_state": [entry]}}
        uri = f"{V1}invite/{quote(event.room_id)}/{quote(event.event_id)}"
        status, answer = self.ok(self.ask_as(self.far, "PUT", uri, body))
        self.assertEqual(status, 200)
        self.assertIn(ONE, answer["event"]["signatures"])
        self.assertIn(event.room_id, self.synced_rooms(self.alice, "invite"))

    def test_repeated_request_is_answered_again(self) -> None:
        room = self.given_inviting()
        event = room.build("m.room.member", EVE, {"membership": "invite"}, self.alice.user_id)
        first = self.ok(self.invite_as(self.far, room, event))
        self.assertEqual(self.ok(self.invite_as(self.far, room, event)), first)

    def test_invite_of_an_ignored_user_is_not_shown(self) -> None:
        path = f"{V3}/user/{self.alice.user_id}/account_data/m.ignored_user_list"
        self.ok(self.put(path, {"ignored_users": {EVE: {}}}, self.alice))
        room = self.given_inviting()
        event = room.build("m.room.member", EVE, {"membership": "invite"}, self.alice.user_id)
        self.ok(self.invite_as(self.far, room, event))
        self.assertEqual(self.synced_rooms(self.alice, "invite"), {})
        self.ok(self.put(path, {"ignored_users": {}}, self.alice))
        self.assertIn(event.room_id, self.synced_rooms(self.alice, "invite"))

    def test_blocked_invite_is_refused_in_both_versions(self) -> None:
        path = f"{V3}/user/{self.alice.user_id}/account_data/m.invite_permission_config"
        self.ok(self.put(path, {"default_action": "block"}, self.alice))
        room = self.given_inviting("1")
        event = room.build("m.room.member", EVE, {"membership": "invite"}, self.alice.user_id)
        self.assert_refused(self.invite_as(self.far, room, event), 403, "M_INVITE_BLOCKED")
        uri = f"{V1}invite/{quote(event.room_id)}/{quote(event.event_id)}"
        answer = self.ask_as(self.far, "PUT", uri, decode_pdu(event))
        self.assert_refused(answer, 403, "M_INVITE_BLOCKED")

    def test_server_that_the_room_denies_invites_nobody_there(self) -> None:
        carol = self.given_user("carol", TWO)
        room_id = self.given_room(self.alice)
        self.ok(self.join(self.bob, room_id))
        acl = {"allow": ["*"], "deny": [ONE]}
        self.ok(self.set_state(self.alice, room_id, "m.room.server_acl", acl))
        self.wait()
        self.assertNotEqual(self.invite(self.alice, room_id, carol.user_id)[0], 200)
        self.assertEqual(self.synced_rooms(carol, "invite"), {})
        self.assertIsNone(self.membership(self.alice, room_id, carol.user_id))


class InviteLimitsTests(MembershipsCase):
    limits = "\n".join(
        {
            "per_room": "  per_room: {per_second: 0.1, burst_count: 2}",
            "per_user": "  per_user: {per_second: 0.1, burst_count: 3}",
            "per_issuer": "  per_issuer: {per_second: 0.1, burst_count: 4}",
        }.get(line.strip().partition(":")[0], line)
        for line in NO_LIMITS.splitlines()
    )

    def setUp(self) -> None:
        super().setUp()
        self.far = self.given_far()
        self.users = [self.alice.user_id, *(self.given_user(f"user{n}").user_id for n in range(4))]

    def invited(self, room: RoomBuilder, user_id: str, sender: str = EVE) -> tuple[int, Any]:
        event = room.build("m.room.member", sender, {"membership": "invite"}, user_id)
        return self.invite_as(self.far, room, event)

    def test_room_is_limited(self) -> None:
        room = given_room("12", EVE)
        answers = [self.invited(room, user_id)[0] for user_id in self.users[:3]]
        self.assertEqual(answers, [200, 200, 429])
        self.clock.advance(11)
        self.ok(self.invited(room, self.users[2]))

    def test_invited_user_is_limited(self) -> None:
        answers = []
        for number in range(4):
            inviter = f"@eve{number}:{FAR}"
            room = given_room("12", inviter, number=number)
            answers.append(self.invited(room, self.alice.user_id, inviter)[0])
        self.assertEqual(answers, [200, 200, 200, 429])
        self.assertEqual(len(self.synced_rooms(self.alice, "invite")), 3)

    def test_inviter_is_limited(self) -> None:
        answers = [
            self.invited(given_room("12", EVE, number=number), user_id)[0]
            for number, user_id in enumerate(self.users)
        ]
        self.assertEqual(answers, [200, 200, 200, 200, 429])


class ClosedDoorTests(MembershipsCase):
    extra_configuration = "block_non_admin_invites: true"

    def test_nobody_from_elsewhere_invites(self) -> None:
        far = self.given_far()
        room = given_room("12", EVE)
        event = room.build("m.room.member", EVE, {"membership": "invite"}, self.alice.user_id)
        self.assert_refused(self.invite_as(far, room, event), 403, "M_FORBIDDEN")


class RetractedInvitesTests(MembershipsCase):
    def setUp(self) -> None:
        super().setUp()
        self.chains: dict[str, list[dict[str, Any]]] = {}

    def test_invite_taken_back_is_gone_from_sync(self) -> None:
        for version in ("1", "6", "12"):
            for verb in ("kick", "ban"):
                room_id = self.given_room(self.alice, preset="private_chat", room_version=version)
                self.ok(self.invite(self.alice, room_id, self.bob.user_id))
                since = self.sync(self.bob)["next_batch"]
                self.ok(self.put_out(self.alice, room_id, self.bob.user_id, verb))
                self.wait()
                self.assertIn(room_id, self.synced_rooms(self.bob, "leave", since), (version, verb))
                self.assertNotIn(room_id, self.synced_rooms(self.bob, "invite"))
                self.restart(TWO)
                self.assertNotIn(room_id, self.synced_rooms(self.bob, "invite"))
                self.assertNotEqual(self.join(self.bob, room_id)[0], 200)

    def test_who_did_not_invite_cannot_take_back(self) -> None:
        far, third = self.given_far(), self.given_far("third.example")
        for version in ("6", "12"):
            room = given_room(version, EVE, "public")
            invite = room.build("m.room.member", EVE, {"membership": "invite"}, self.alice.user_id)
            self.ok(self.invite_as(far, room, invite))
            room.add(invite)
            join = room.join(MALLORY, prev=[invite])
            fake = room.build(
                "m.room.member", MALLORY, {"membership": "leave"}, self.alice.user_id, prev=[join]
            )
            chain = [decode_pdu(event) for event in room.events.by_id.values()]
            third.answers["v1/event_auth"] = given_chain(chain)
            results = self.send_as(third, fake)
            self.assertIn("error", results[fake.event_id])
            self.assertIn(room.room_id, self.synced_rooms(self.alice, "invite"))

    def test_what_could_not_be_written_is_not_answered_with_success(self) -> None:
        far = self.given_far()
        room = given_room("11", EVE)
        self.ok(self.invite_as(far, room, room.set_membership(EVE, self.alice.user_id, "invite")))
        leave = room.set_membership(EVE, self.alice.user_id, "leave")
        # Its keys are known before.
        self.send_as(far)
        body = {"origin": far.name, "origin_server_ts": 1, "pdus": [decode_pdu(leave)]}
        commit, failures = Committer.commit, [CommitFailed("disk full")]

        async def fail_once(committer: Committer, *changes: Any, **more: Any) -> Any:
            if failures and any(isinstance(change, DropStripped) for change in changes):
                raise failures.pop()
            return await commit(committer, *changes, **more)

        with patch.object(Committer, "commit", fail_once):
            status, _ = self.ask_as(far, "PUT", f"{V1}send/again", body)
            self.assertGreaterEqual(status, 500)
            self.assertIn(room.room_id, self.synced_rooms(self.alice, "invite"))
            answer = self.ok(self.ask_as(far, "PUT", f"{V1}send/again", body))
        self.assertEqual(answer["pdus"], {leave.event_id: {}})
        self.assertNotIn(room.room_id, self.synced_rooms(self.alice, "invite"))

    def test_moderator_of_another_server_takes_back(self) -> None:
        far, third = self.given_far(), self.given_far("third.example")
        for version in ("6", "12"):
            room = given_room(version, EVE, "public")
            room.join(MALLORY)
            levels = {MALLORY: 90} if version == "12" else {EVE: 100, MALLORY: 90}
            room.set_power_levels(EVE, levels)
            invite = room.set_membership(EVE, self.alice.user_id, "invite")
            self.ok(self.invite_as(far, room, invite))
            leave = room.set_membership(MALLORY, self.alice.user_id, "leave")
            chain = [decode_pdu(event) for event in room.events.by_id.values()]
            third.answers["v1/event_auth"] = given_chain(chain)
            self.assertEqual(self.send_as(third, leave), {leave.event_id: {}})
            self.assertNotIn(room.room_id, self.synced_rooms(self.alice, "invite"))

    def given_leave_by_a_moderator(self, far: FarServer, number: int = 0) -> Event:
        """Of another server than the one that invited; who sends it is asked what allows it."""
        room = given_room("12", EVE, "public", number=number)
        room.join(MALLORY)
        room.set_power_levels(EVE, {MALLORY: 90})
        self.ok(self.invite_as(far, room, room.set_membership(EVE, self.alice.user_id, "invite")))
        leave = room.set_membership(MALLORY, self.alice.user_id, "leave")
        self.chains[leave.event_id] = [decode_pdu(event) for event in room.events.by_id.values()]
        return leave

    def begin_sending(self, far: FarServer, *events: Event) -> "Deferred[IResponse]":
        # Its keys are known before.
        self.send_as(far)
        self.network.silent.add(far.name)
        body = {"origin": far.name, "origin_server_ts": 1, "pdus": [decode_pdu(one) for one in events]}
        headers = far.authorization(ONE, "PUT", f"{V1}send/late", body)
        return self.begin("PUT", f"{V1}send/late", body, headers=headers)

    def test_server_that_does_not_answer_is_asked_a_few_times_at_once(self) -> None:
        far, third = self.given_far(), self.given_far("third.example")
        leaves = [self.given_leave_by_a_moderator(far, number) for number in range(2 * ASKED_AT_ONCE)]
        pending = self.begin_sending(third, *leaves)
        self.assertEqual(sum("event_auth" in uri for _, _, uri in self.network.requests), ASKED_AT_ONCE)
        self.wait(70)
        answers = self.finish(pending)[1]["pdus"]
        self.assertEqual(sum("error" in answer for answer in answers.values()), ASKED_AT_ONCE)

    def test_what_was_answered_before_it_was_done_outlives_a_restart(self) -> None:
        far, third = self.given_far(), self.given_far("third.example")
        leave = self.given_leave_by_a_moderator(far)
        third.answers["v1/event_auth"] = given_chain(self.chains[leave.event_id])
        pending = self.begin_sending(third, leave)
        self.wait(6)
        self.assertEqual(self.finish(pending)[1]["pdus"], {leave.event_id: {}})
        self.assertIn(leave.room_id, self.synced_rooms(self.alice, "invite"))
        self.network.silent.clear()
        self.restart()
        self.wait(70)
        self.assertNotIn(leave.room_id, self.synced_rooms(self.alice, "invite"))

    def test_leave_of_an_earlier_invite_does_not_end_a_later_one(self) -> None:
        far = self.given_far()
        room = given_room("11", EVE, "public")
        first = room.set_membership(EVE, self.alice.user_id, "invite")
        self.ok(self.invite_as(far, room, first))
        leave = room.set_membership(EVE, self.alice.user_id, "leave")
        second = room.set_membership(EVE, self.alice.user_id, "invite")
        self.ok(self.invite_as(far, room, second))
        self.assertIn("error", self.send_as(far, leave)[leave.event_id])
        self.assertIn(room.room_id, self.synced_rooms(self.alice, "invite"))

    def test_invite_that_comes_while_an_earlier_one_is_taken_back_stays(self) -> None:
        far, third = self.given_far(), self.given_far("third.example")
        room = given_room("11", EVE, "public")
        room.join(MALLORY)
        room.set_power_levels(EVE, {EVE: 100, MALLORY: 90})
        self.ok(self.invite_as(far, room, room.set_membership(EVE, self.alice.user_id, "invite")))
        leave = room.set_membership(MALLORY, self.alice.user_id, "leave")
        chain = [decode_pdu(event) for event in room.events.by_id.values()]
        second = room.set_membership(EVE, self.alice.user_id, "invite")

        def invite_and_answer(call: FarCall) -> Any:
            self.ok(self.invite_as(far, room, second))
            return {"auth_chain": chain}

        third.answers["v1/event_auth"] = invite_and_answer
        self.assertIn("error", self.send_as(third, leave)[leave.event_id])
        self.assertIn(room.room_id, self.synced_rooms(self.alice, "invite"))

    def test_forged_and_unrelated_events_change_nothing(self) -> None:
        far = self.given_far()
        room = given_room("12", EVE, "public")
        invite = room.set_membership(EVE, self.alice.user_id, "invite")
        self.ok(self.invite_as(far, room, invite))
        leave = room.build("m.room.member", EVE, {"membership": "leave"}, self.alice.user_id)
        pdu = decode_pdu(leave) | {"signatures": {FAR: {"ed25519:test": "A" * 86}}}
        forged = replace(leave, json=orjson.dumps(pdu))
        self.assertIn("error", self.send_as(far, forged)[leave.event_id])
        self.assertEqual(self.send_as(far, room.say(EVE)), {})
        self.assertIn(room.room_id, self.synced_rooms(self.alice, "invite"))
        self.assertEqual(self.send_as(far, leave), {leave.event_id: {}})
        self.assertNotIn(room.room_id, self.synced_rooms(self.alice, "invite"))

    def test_knock_is_turned_down(self) -> None:
        rule = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
        room_id = self.given_room(self.alice, initial_state=[rule])
        self.ok(self.knock(self.bob, room_id))
        since = self.sync(self.bob)["next_batch"]
        self.ok(self.put_out(self.alice, room_id, self.bob.user_id))
        self.wait()
        self.assertIn(room_id, self.synced_rooms(self.bob, "leave", since))
        self.assertNotIn(room_id, self.synced_rooms(self.bob, "knock"))

    def test_invite_that_is_quicker_than_the_answer_to_a_knock_stays(self) -> None:
        far, alice = self.given_far(), self.alice.user_id
        room = given_room("11", EVE, "knock")
        template = decode_pdu(room.build("m.room.member", alice, {"membership": "knock"}, alice))
        invite = room.build("m.room.member", EVE, {"membership": "invite"}, alice)
        far.answers["v1/make_knock"] = lambda call: {"room_version": "11", "event": template}

        def invite_and_answer(call: FarCall) -> Any:
            self.ok(self.invite_as(far, room, invite))
            return {"knock_room_state": []}

        far.answers["v1/send_knock"] = invite_and_answer
        self.ok(self.knock(self.alice, invite.room_id, FAR))
        self.assertIn(room.room_id, self.synced_rooms(self.alice, "invite"))
        # And what comes while the user turns it down.
        room.add(invite)
        leave = decode_pdu(room.build("m.room.member", alice, {"membership": "leave"}, alice))
        second = room.build("m.room.member", EVE, {"membership": "invite"}, alice)
        far.answers["v1/make_leave"] = lambda call: {"room_version": "11", "event": leave}

        def invite_again(call: FarCall) -> Any:
            self.ok(self.invite_as(far, room, second))
            return {}

        far.answers["v2/send_leave"] = invite_again
        self.ok(self.leave(self.alice, invite.room_id))
        self.assertIn(room.room_id, self.synced_rooms(self.alice, "invite"))

    def test_knock_is_answered_with_an_invite(self) -> None:
        for join_rule in ("knock", "knock_restricted"):
            rule = {"type": "m.room.join_rules", "content": {"join_rule": join_rule, "allow": []}}
            room_id = self.given_room(self.alice, preset="private_chat", initial_state=[rule])
            self.ok(self.knock(self.bob, room_id))
            self.ok(self.invite(self.alice, room_id, self.bob.user_id))
            self.assertIn(room_id, self.synced_rooms(self.bob, "invite"))
            self.assertNotIn(room_id, self.synced_rooms(self.bob, "knock"))
            self.ok(self.join(self.bob, room_id))
            self.assertEqual(self.members(self.alice, room_id), {self.alice.user_id, self.bob.user_id})

    def test_knock_is_refused_where_the_room_takes_none(self) -> None:
        room_id = self.given_room(self.alice, preset="private_chat")
        self.assert_refused(self.knock(self.bob, room_id), 403, "M_FORBIDDEN")
        old = self.given_room(self.alice, preset="private_chat", room_version="6")
        self.assertNotEqual(self.knock(self.bob, old)[0], 200)
        self.assertEqual(self.synced_rooms(self.bob, "knock"), {})
