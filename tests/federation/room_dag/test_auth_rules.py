"""The authorization rules, rule by rule, each in all versions."""

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from nacl.signing import SigningKey
from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.auth_rules.auth_state_keys import auth_state_keys
from federation.room_dag.auth_rules.check_auth_events import check_auth_events
from federation.room_dag.auth_rules.check_event_auth import check_event_auth
from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.base64 import encode_base64
from federation.room_dag.event import Event
from federation.room_dag.room_versions import ROOM_VERSIONS, get_room_rules
from federation.room_dag.signing import EventSigner
from tests.federation.room_dag.builders import ALICE, BOB, CAROL

ALL = list(ROOM_VERSIONS)
MALLORY = "@mallory:evil.example"


def since(first: int) -> list[str]:
    return [version for version in ALL if int(version) >= first]


def until(last: int) -> list[str]:
    return [version for version in ALL if int(version) <= last]


class State:
    """A state of a room made of nothing but what a rule looks at."""

    def __init__(self, version: str, create: dict[str, Any] | None = None) -> None:
        self.rules = get_room_rules(version)
        self.entries: dict[tuple[str, str], Event] = {}
        self._ids = count()
        content = {"creator": ALICE} if self.rules.creator_in_content else {}
        self.create = self.put("m.room.create", ALICE, {**content, **(create or {})})

    def event(
        self,
        event_type: str,
        sender: str,
        content: dict[str, Any],
        state_key: str | None = None,
        *,
        prev: Iterable[Event] | None = None,
        room_id: str | None = None,
        event_id: str | None = None,
        redacts: str | None = None,
    ) -> Event:
        event_id = event_id or f"${next(self._ids)}:one.example"
        if event_type == "m.room.create":
            default_room = "!" + event_id[1:]
            prev_events: tuple[str, ...] = ()
        else:
            default_room = self.create.room_id
            prev_events = ("$some:one.example",)
        return Event(
            event_id,
            room_id or default_room,
            event_type,
            sender,
            state_key,
            content,
            1,
            1,
            prev_events if prev is None else tuple(event.event_id for event in prev),
            (),
            redacts,
            self.rules,
            b"",
        )

    def put(self, event_type: str, sender: str, content: dict[str, Any], state_key: str = "") -> Event:
        event = self.event(event_type, sender, content, state_key)
        self.entries[event.state_pair] = event
        return event

    def members(self, **memberships: str) -> "State":
        for name, membership in memberships.items():
            user_id = {"alice": ALICE, "bob": BOB, "carol": CAROL, "mallory": MALLORY}[name]
            self.put("m.room.member", user_id, {"membership": membership}, user_id)
        return self

    def levels(self, **content: Any) -> "State":
        self.put("m.room.power_levels", ALICE, content)
        return self

    def join_rule(self, join_rule: Any) -> "State":
        self.put("m.room.join_rules", ALICE, {"join_rule": join_rule})
        return self


class AuthTestCase(SynchronousTestCase):
    def allowed(self, state: State, event: Event) -> None:
        try:
            check_event_auth(event, state.entries.get)
        except NotAllowed as error:
            self.fail(f"version {state.rules.version}: {error.reason}")

    def refused(self, state: State, event: Event) -> None:
        try:
            check_event_auth(event, state.entries.get)
        except NotAllowed:
            return
        self.fail(f"version {state.rules.version}: allowed")

    def judge(self, is_allowed: bool, state: State, event: Event) -> None:
        (self.allowed if is_allowed else self.refused)(state, event)

    def member(self, state: State, sender: str, target: str, membership: Any, **content: Any) -> Event:
        return state.event("m.room.member", sender, {"membership": membership, **content}, target)


class CreateTests(AuthTestCase):
    def create(self, version: str, content: dict[str, Any], **options: Any) -> tuple[State, Event]:
        state = State(version)
        if state.rules.creator_in_content:
            content = {"creator": ALICE, **content}
        return state, state.event("m.room.create", ALICE, content, "", **options)

    def test_plain_create_is_allowed(self) -> None:
        for version in ALL:
            self.allowed(*self.create(version, {"room_version": version}))
            self.allowed(*self.create(version, {}))

    def test_prev_events_are_refused(self) -> None:
        for version in ALL:
            self.refused(*self.create(version, {}, prev=[State(version).create]))

    def test_room_of_another_server_is_refused_up_to_version_11(self) -> None:
        for version in until(11):
            self.refused(*self.create(version, {}, room_id="!room:two.example"))
            self.refused(*self.create(version, {}, room_id="!room"))

    def test_unknown_room_version_is_refused(self) -> None:
        for version in ALL:
            for unknown in ("13", "x", 1, None):
                self.refused(*self.create(version, {"room_version": unknown}))

    def test_creator_is_needed_up_to_version_10(self) -> None:
        for version in ALL:
            state = State(version)
            self.judge(version in since(11), state, state.event("m.room.create", ALICE, {}, ""))

    def test_additional_creators_are_user_ids_in_version_12(self) -> None:
        self.allowed(*self.create("12", {"additional_creators": []}))
        self.allowed(*self.create("12", {"additional_creators": [BOB, "@Historical User:x"]}))
        for creators in (None, "x", BOB, {BOB: 1}, ["bob"], ["@bob"], [BOB, 7]):
            self.refused(*self.create("12", {"additional_creators": creators}))
            self.allowed(*self.create("11", {"additional_creators": creators}))


class RoomTests(AuthTestCase):
    def test_room_without_create_event_is_refused(self) -> None:
        for version in ALL:
            state = State(version).members(alice="join")
            message = state.event("m.room.message", ALICE, {})
            self.allowed(state, message)
            del state.entries["m.room.create", ""]
            self.refused(state, message)

    def test_room_id_is_the_create_event_in_version_12(self) -> None:
        for version in ALL:
            state = State(version).members(alice="join")
            event = state.event("m.room.message", ALICE, {}, room_id="!other:one.example")
            self.judge(version in until(11), state, event)

    def test_unfederated_room_is_for_the_server_of_the_creator(self) -> None:
        for version in ALL:
            for federate, is_allowed in ((False, False), (True, True), ("false", True), (0, True)):
                state = State(version, {"m.federate": federate}).members(alice="join", bob="join")
                self.allowed(state, state.event("m.room.message", ALICE, {}))
                self.judge(is_allowed, state, state.event("m.room.message", BOB, {}))

    def test_only_members_send(self) -> None:
        for version in ALL:
            for membership in ("join", "leave", "invite", "knock", "ban", None):
                state = State(version)
                if membership is not None:
                    state.members(bob=membership)
                self.judge(membership == "join", state, state.event("m.room.message", BOB, {}))

    def test_required_level_to_send(self) -> None:
        for version in ALL:
            state = State(version).members(bob="join").levels(users={BOB: 50}, events={"a": 50, "b": 51})
            for event_type, is_allowed in (("a", True), ("b", False), ("c", True)):
                self.judge(is_allowed, state, state.event(event_type, BOB, {}))
                self.judge(is_allowed, state, state.event(event_type, BOB, {}, ""))
            state.levels(users={BOB: 49})
            self.allowed(state, state.event("c", BOB, {}))
            self.refused(state, state.event("c", BOB, {}, ""))

    def test_state_keys_of_users_are_theirs(self) -> None:
        for version in ALL:
            state = State(version).members(alice="join")
            self.allowed(state, state.event("x", ALICE, {}, ALICE))
            self.allowed(state, state.event("x", ALICE, {}, "bob"))
            self.refused(state, state.event("x", ALICE, {}, BOB))

    def test_third_party_invites_take_the_invite_level_only(self) -> None:
        for version in ALL:
            state = State(version).members(bob="join").levels(invite=10, users={BOB: 10})
            self.allowed(state, state.event("m.room.third_party_invite", BOB, {}, "token"))
            state.levels(invite=11, users={BOB: 10})
            self.refused(state, state.event("m.room.third_party_invite", BOB, {}, "token"))

    def test_aliases_are_of_the_server_up_to_version_5(self) -> None:
        for version in ALL:
            state = State(version).levels(users={ALICE: 100})
            own = state.event("m.room.aliases", BOB, {}, "two.example")
            self.judge(version in until(5), state, own)
            state.members(alice="join")
            foreign = state.event("m.room.aliases", ALICE, {}, "two.example")
            self.judge(version in since(6), state, foreign)
            self.judge(version in since(6), state, state.event("m.room.aliases", ALICE, {}))

    def test_redactions_take_the_redact_level_or_the_same_server_up_to_version_2(self) -> None:
        for version in ALL:
            state = State(version).members(bob="join", carol="join").levels(users={BOB: 49, CAROL: 50})

            def redaction(sender: str, redacts: str | None, state: State = state) -> Event:
                return state.event("m.room.redaction", sender, {}, redacts=redacts, event_id="$r:two.example")

            self.allowed(state, redaction(CAROL, "$x:one.example"))
            self.allowed(state, redaction(BOB, "$x:two.example"))
            for redacts in ("$x:one.example", "$x", None):
                self.judge(version in since(3), state, redaction(BOB, redacts))


class MemberTests(AuthTestCase):
    def test_state_key_and_membership_are_needed(self) -> None:
        for version in ALL:
            state = State(version).members(alice="join")
            self.allowed(state, self.member(state, ALICE, ALICE, "join"))
            self.refused(state, state.event("m.room.member", ALICE, {"membership": "join"}))
            self.refused(state, state.event("m.room.member", ALICE, {"membership": "invite"}))
            self.refused(state, state.event("m.room.member", ALICE, {}, ALICE))

    def test_unknown_memberships_are_refused(self) -> None:
        for version in ALL:
            state = State(version).members(alice="join")
            for membership in ("", "joined", None, 7, ["join"]):
                self.refused(state, self.member(state, ALICE, ALICE, membership))

    def test_leaving_oneself(self) -> None:
        for version in ALL:
            for membership in ("join", "invite", "knock", "leave", "ban"):
                state = State(version).members(bob=membership)
                is_allowed = membership in ("join", "invite") or (
                    membership == "knock" and version in since(7)
                )
                self.judge(is_allowed, state, self.member(state, BOB, BOB, "leave"))
            self.refused(state := State(version), self.member(state, BOB, BOB, "leave"))

    def test_kicking(self) -> None:
        for version in ALL:
            for kicker, level, target, is_allowed in (
                ("join", 50, 49, True),
                ("join", 50, 50, False),
                ("join", 50, 51, False),
                ("join", 49, 0, False),
                ("leave", 50, 0, False),
                ("invite", 50, 0, False),
            ):
                state = (
                    State(version).members(bob=kicker, carol="join").levels(users={BOB: level, CAROL: target})
                )
                self.judge(is_allowed, state, self.member(state, BOB, CAROL, "leave"))

    def test_unbanning_takes_both_levels(self) -> None:
        for version in ALL:
            for kick, ban, is_allowed in ((50, 50, True), (51, 50, False), (50, 51, False)):
                state = (
                    State(version)
                    .members(bob="join", carol="ban")
                    .levels(users={BOB: 50}, kick=kick, ban=ban)
                )
                self.judge(is_allowed, state, self.member(state, BOB, CAROL, "leave"))

    def test_banning(self) -> None:
        for version in ALL:
            for banner, level, target, is_allowed in (
                ("join", 50, 49, True),
                ("join", 50, 50, False),
                ("join", 49, 0, False),
                ("leave", 50, 0, False),
            ):
                state = State(version).members(bob=banner).levels(users={BOB: level, CAROL: target})
                self.judge(is_allowed, state, self.member(state, BOB, CAROL, "ban"))

    def test_knocking(self) -> None:
        for version in ALL:
            for join_rule, first in (("knock", 7), ("knock_restricted", 10), ("invite", 99), ("public", 99)):
                state = State(version).join_rule(join_rule)
                self.judge(version in since(first), state, self.member(state, BOB, BOB, "knock"))
            self.refused(state := State(version), self.member(state, BOB, BOB, "knock"))

    def test_knocking_is_for_oneself_and_not_for_members(self) -> None:
        for version in since(7):
            for membership, is_allowed in (
                ("leave", True),
                ("knock", True),
                ("ban", False),
                ("invite", False),
                ("join", False),
            ):
                state = State(version).join_rule("knock").members(bob=membership)
                self.judge(is_allowed, state, self.member(state, BOB, BOB, "knock"))
            state = State(version).join_rule("knock")
            self.refused(state, self.member(state, ALICE, BOB, "knock"))

    def test_authorising_user_must_be_a_user_since_version_8(self) -> None:
        for version in ALL:
            odd_values: list[Any] = [None, 7, "bob"]
            for odd in odd_values:
                state = State(version).members(bob="join")
                event = self.member(state, BOB, BOB, "leave", join_authorised_via_users_server=odd)
                self.judge(version in until(7), state, event)


class JoinTests(AuthTestCase):
    def test_creator_joins_first(self) -> None:
        for version in ALL:
            state = State(version)
            for user_id in (ALICE, BOB):
                event = state.event(
                    "m.room.member", user_id, {"membership": "join"}, user_id, prev=[state.create]
                )
                self.judge(user_id == ALICE, state, event)
            self.refused(state, self.member(state, ALICE, ALICE, "join"))

    def test_creator_is_named_in_content_up_to_version_10(self) -> None:
        for version in ALL:
            state = State(version, {"creator": BOB})
            event = state.event("m.room.member", BOB, {"membership": "join"}, BOB, prev=[state.create])
            self.judge(version in until(10), state, event)

    def test_additional_creators_join_like_everybody(self) -> None:
        state = State("12", {"additional_creators": [BOB]})
        event = state.event("m.room.member", BOB, {"membership": "join"}, BOB, prev=[state.create])
        self.refused(state, event)

    def test_join_rules_and_memberships(self) -> None:
        invited = {"join": True, "invite": True, "leave": False, "knock": False, "ban": False}
        anyone = {"join": True, "invite": True, "leave": True, "knock": True, "ban": False}
        nobody = dict.fromkeys(invited, False)
        for join_rule, first, expected in (
            ("public", 1, anyone),
            ("invite", 1, invited),
            ("knock", 7, invited),
            ("restricted", 8, invited),
            ("knock_restricted", 10, invited),
            ("private", 99, nobody),
            ("x", 99, nobody),
        ):
            for version in ALL:
                for membership, is_allowed in (expected if version in since(first) else nobody).items():
                    state = State(version).join_rule(join_rule).members(bob=membership)
                    self.judge(is_allowed, state, self.member(state, BOB, BOB, "join"))

    def test_missing_join_rule_means_invite(self) -> None:
        for version in ALL:
            state = State(version).members(bob="invite")
            self.allowed(state, self.member(state, BOB, BOB, "join"))
            self.refused(state, self.member(state, CAROL, CAROL, "join"))

    def test_one_joins_only_oneself(self) -> None:
        for version in ALL:
            state = State(version).join_rule("public").members(alice="join")
            self.refused(state, self.member(state, ALICE, BOB, "join"))

    def test_restricted_joins_are_authorised_by_one_who_may_invite(self) -> None:
        for join_rule, first in (("restricted", 8), ("knock_restricted", 10)):
            for version in since(first):
                for membership, level, is_allowed in (
                    ("join", 50, True),
                    ("join", 49, False),
                    ("leave", 50, False),
                    ("ban", 50, False),
                ):
                    state = State(version).join_rule(join_rule).members(carol=membership)
                    state.levels(invite=50, users={CAROL: level})
                    event = self.member(state, BOB, BOB, "join", join_authorised_via_users_server=CAROL)
                    self.judge(is_allowed, state, event)
                    self.refused(state, self.member(state, BOB, BOB, "join"))

    def test_banned_users_are_not_let_in_by_authorisation(self) -> None:
        for version in since(8):
            state = State(version).join_rule("restricted").members(alice="join", bob="ban")
            self.refused(state, self.member(state, BOB, BOB, "join", join_authorised_via_users_server=ALICE))


class InviteTests(AuthTestCase):
    def test_inviting(self) -> None:
        for version in ALL:
            for sender, target, level, is_allowed in (
                ("join", "leave", 10, True),
                ("join", "invite", 10, True),
                ("join", "knock", 10, True),
                ("join", "join", 10, False),
                ("join", "ban", 10, False),
                ("join", "leave", 9, False),
                ("leave", "leave", 10, False),
                ("invite", "leave", 10, False),
            ):
                state = State(version).members(bob=sender, carol=target).levels(invite=10, users={BOB: level})
                self.judge(is_allowed, state, self.member(state, BOB, CAROL, "invite"))

    def test_inviting_takes_level_0_by_default(self) -> None:
        for version in ALL:
            state = State(version).members(bob="join")
            self.allowed(state, self.member(state, BOB, CAROL, "invite"))


class ThirdPartyInviteTests(AuthTestCase):
    def setUp(self) -> None:
        self.signer = EventSigner("id.example", "ed25519:0", SigningKey(b"i" * 32))
        self.signed = self.signer.sign_json({"mxid": CAROL, "token": "tok"})
        self.public_key = self.signer.verify_key_base64

    def state(self, version: str, content: dict[str, Any] | None = None) -> State:
        state = State(version)
        content = {"public_key": self.public_key} if content is None else content
        state.put("m.room.third_party_invite", BOB, content, "tok")
        return state

    def invite(self, state: State, signed: Any, sender: str = BOB, target: str = CAROL) -> Event:
        return self.member(state, sender, target, "invite", third_party_invite={"signed": signed})

    def test_signed_invite_is_allowed_whoever_is_in_the_room(self) -> None:
        for version in ALL:
            state = self.state(version)
            self.allowed(state, self.invite(state, self.signed))

    def test_keys_may_be_in_a_list(self) -> None:
        keys = [{"public_key": "*"}, 7, {}, {"public_key": self.public_key}]
        for version in ALL:
            state = self.state(version, {"public_key": encode_base64(b"x" * 32), "public_keys": keys})
            self.allowed(state, self.invite(state, self.signed))

    def test_banned_target_is_refused(self) -> None:
        for version in ALL:
            state = self.state(version).members(carol="ban")
            self.refused(state, self.invite(state, self.signed))

    def test_malformed_invites_are_refused(self) -> None:
        for version in ALL:
            state = self.state(version)
            odd_values: list[Any] = [None, [], "x", {}]
            for odd in odd_values:
                self.refused(state, self.member(state, BOB, CAROL, "invite", third_party_invite=odd))
                self.refused(state, self.invite(state, odd))
            for missing in ("mxid", "token", "signatures"):
                signed = {key: value for key, value in self.signed.items() if key != missing}
                self.refused(state, self.invite(state, signed))
            for odd in (
                None,
                [],
                {"id.example": []},
                {"id.example": {"ed25519:0": 7}},
                {"id.example": {"x:0": "x"}},
            ):
                self.refused(state, self.invite(state, {**self.signed, "signatures": odd}))

    def test_wrong_target_token_or_sender_are_refused(self) -> None:
        for version in ALL:
            state = self.state(version)
            self.refused(state, self.invite(state, self.signed, target=MALLORY))
            self.refused(state, self.invite(state, self.signed, sender=MALLORY))
            self.refused(state, self.invite(state, self.signer.sign_json({"mxid": CAROL, "token": "other"})))

    def test_wrong_signatures_are_refused(self) -> None:
        for version in ALL:
            state = self.state(version)
            self.refused(state, self.invite(state, {**self.signed, "mxid": CAROL, "extra": 1}))
            other = EventSigner("id.example", "ed25519:0", SigningKey(b"j" * 32))
            self.refused(state, self.invite(state, other.sign_json({"mxid": CAROL, "token": "tok"})))
            self.refused(no_key := self.state(version, {}), self.invite(no_key, self.signed))

    def test_number_of_verifications_is_bounded(self) -> None:
        keys = [{"public_key": encode_base64(bytes([number % 256] * 32))} for number in range(1000)]
        state = self.state("12", {"public_keys": [*keys, {"public_key": self.public_key}]})
        self.refused(state, self.invite(state, self.signed))


class PowerLevelTests(AuthTestCase):
    def change(
        self, version: str, old: dict[str, Any] | None, new: dict[str, Any], level: int = 50
    ) -> tuple[State, Event]:
        """Bob, who has `level`, changes the power levels."""
        state = State(version).members(bob="join", alice="join")
        if old is not None:
            old = {"events": {"m.room.power_levels": 0}, **old}
            state.levels(**{**old, "users": {BOB: level, **old.get("users", {})}})
            new = {"events": {"m.room.power_levels": 0}, **new}
        return state, state.event("m.room.power_levels", BOB, new, "")

    def test_form_of_users(self) -> None:
        for version in ALL:
            users_values: list[Any] = [[], "x", None, {"bob": 1}, {BOB: "ten"}, {BOB: None}, {BOB: True}]
            for users in users_values:
                self.refused(*self.change(version, {}, {"users": users}, 100))
            self.allowed(*self.change(version, {}, {"users": {BOB: 50, "@Historical User:x": 1}}))
            self.judge(version in until(9), *self.change(version, {}, {"users": {BOB: " 050 "}}))

    def test_form_of_levels_since_version_10(self) -> None:
        for version in ALL:
            for name in (
                "users_default",
                "events_default",
                "state_default",
                "ban",
                "redact",
                "kick",
                "invite",
            ):
                odd_values: list[Any] = ["x", "1", None, [], True]
                for odd in odd_values:
                    new = {"users": {BOB: 50}, name: odd}
                    self.judge(version in until(9), *self.change(version, {}, new))
            for name in ("events", "notifications"):
                odd_maps: list[Any] = [[], None, "x", {"a": "1"}, {"a": None}]
                for odd in odd_maps:
                    new = {"users": {BOB: 50}, name: odd}
                    self.judge(version in until(9), *self.change(version, {}, new))

    def test_creators_have_no_level_in_version_12(self) -> None:
        for version in ALL:
            self.judge(version in until(11), *self.change(version, {}, {"users": {BOB: 50, ALICE: 1}}))
        state = State("12", {"additional_creators": [BOB]}).members(alice="join")
        self.refused(state, state.event("m.room.power_levels", ALICE, {"users": {BOB: 1}}, ""))
        self.allowed(state, state.event("m.room.power_levels", ALICE, {"users": {CAROL: 1}}, ""))

    def test_first_event_is_free(self) -> None:
        for version in ALL:
            state = State(version).members(alice="join")
            users = {} if version == "12" else {ALICE: 1000}
            event = state.event("m.room.power_levels", ALICE, {"users": users, "ban": 1000}, "")
            self.allowed(state, event)

    def test_single_levels(self) -> None:
        for name in ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"):
            for old, new, is_allowed in (
                (0, 50, True),
                (50, 0, True),
                (50, None, True),
                (None, 50, True),
                (0, 51, False),
                (51, 0, False),
                (51, 51, True),
                (51, None, False),
                (None, 51, False),
            ):
                before = {} if old is None else {name: old}
                after = {"users": {BOB: 50}} | ({} if new is None else {name: new})
                for version in ALL:
                    # The level to send the event itself is given, so that only the change is judged.
                    self.judge(is_allowed, *self.change(version, before, after))

    def test_events_and_notifications(self) -> None:
        for name, first in (("events", 1), ("notifications", 6)):
            for old, new, is_allowed in (
                ({"x": 50}, {"x": 0}, True),
                ({"x": 50}, {}, True),
                ({}, {"x": 50}, True),
                ({"x": 51}, {"x": 51}, True),
                ({"x": 51}, {"x": 0}, False),
                ({"x": 51}, {}, False),
                ({}, {"x": 51}, False),
                ({"x": 0}, {"x": 51}, False),
            ):
                own = {"m.room.power_levels": 0} if name == "events" else {}
                for version in ALL:
                    change = self.change(
                        version, {name: {**own, **old}}, {"users": {BOB: 50}, name: {**own, **new}}
                    )
                    self.judge(is_allowed or version in until(first - 1), *change)

    def test_users(self) -> None:
        for old, new, is_allowed in (
            ({CAROL: 49}, {CAROL: 50}, True),
            ({CAROL: 49}, {CAROL: 51}, False),
            ({CAROL: 50}, {CAROL: 49}, False),
            ({CAROL: 50}, {CAROL: 50}, True),
            ({CAROL: 51}, {CAROL: 51}, True),
            ({CAROL: 49}, {}, True),
            ({CAROL: 50}, {}, False),
            ({}, {CAROL: 50}, True),
            ({}, {CAROL: 51}, False),
        ):
            for version in ALL:
                self.judge(is_allowed, *self.change(version, {"users": old}, {"users": {BOB: 50, **new}}))

    def test_own_level_can_only_sink(self) -> None:
        for version in ALL:
            for level, is_allowed in ((50, True), (49, True), (51, False)):
                self.judge(is_allowed, *self.change(version, {}, {"users": {BOB: level}}))
            self.allowed(*self.change(version, {}, {}))

    def test_strings_are_compared_as_numbers_up_to_version_9(self) -> None:
        for version in until(9):
            self.allowed(*self.change(version, {"ban": 100}, {"ban": "0100", "users": {BOB: "50"}}))
            self.refused(*self.change(version, {"ban": 100}, {"ban": "101", "users": {BOB: "50"}}))

    def test_creators_change_everything_in_version_12(self) -> None:
        state = State("12").members(alice="join").levels(users={BOB: 2**53 - 1}, ban=2**53 - 1)
        self.allowed(state, state.event("m.room.power_levels", ALICE, {"users": {}}, ""))

    def test_creators_cannot_be_kicked_or_banned_in_version_12(self) -> None:
        for version in ("11", "12"):
            state = State(version, {"additional_creators": [CAROL]}).members(
                alice="join", bob="join", carol="join"
            )
            state.levels(users={BOB: 1000})
            for membership in ("leave", "ban"):
                for target in (ALICE, CAROL):
                    self.judge(version == "11", state, self.member(state, BOB, target, membership))
            self.judge(False, state, self.member(state, ALICE, CAROL, "ban"))


class AuthEventSelectionTests(SynchronousTestCase):
    def keys(
        self, version: str, event_type: str, state_key: str | None, **content: Any
    ) -> set[tuple[str, str]]:
        keys = auth_state_keys(get_room_rules(version), event_type, BOB, state_key, content)
        self.assertEqual(len(keys), len(set(keys)))
        create = ("m.room.create", "")
        self.assertEqual(create in keys, version != "12" and event_type != "m.room.create")
        return set(keys) - {create}

    def test_selection(self) -> None:
        levels, sender = ("m.room.power_levels", ""), ("m.room.member", BOB)
        target, join_rules = ("m.room.member", CAROL), ("m.room.join_rules", "")
        token, helper = ("m.room.third_party_invite", "tok"), ("m.room.member", ALICE)
        signed = {"signed": {"token": "tok"}}
        for version in ALL:
            usual = {levels, sender}
            self.assertEqual(self.keys(version, "m.room.create", ""), set())
            self.assertEqual(self.keys(version, "m.room.message", None), usual)
            self.assertEqual(self.keys(version, "m.room.topic", ""), usual)
            for membership in ("leave", "ban"):
                self.assertEqual(
                    self.keys(version, "m.room.member", CAROL, membership=membership), {*usual, target}
                )
            for membership in ("join", "knock", "invite"):
                self.assertEqual(
                    self.keys(version, "m.room.member", CAROL, membership=membership),
                    {*usual, target, join_rules},
                )
            self.assertEqual(
                self.keys(version, "m.room.member", BOB, membership="join"), {*usual, join_rules}
            )
            self.assertEqual(
                self.keys(version, "m.room.member", CAROL, membership="invite", third_party_invite=signed),
                {*usual, target, join_rules, token},
            )
            self.assertEqual(
                self.keys(
                    version, "m.room.member", BOB, membership="join", join_authorised_via_users_server=ALICE
                ),
                {*usual, join_rules} | ({helper} if version in since(8) else set()),
            )

    def test_odd_content_selects_nothing_more(self) -> None:
        odd_values: list[Any] = [None, 7, [], {"signed": None}, {"signed": {"token": 7}}]
        for odd in odd_values:
            keys = self.keys("12", "m.room.member", CAROL, membership="invite", third_party_invite=odd)
            self.assertEqual(len(keys), 4)
        self.assertEqual(len(self.keys("12", "m.room.member", CAROL, membership=["join"])), 3)


class CheckAuthEventsTests(SynchronousTestCase):
    def judged(
        self, version: str, choose: Callable[[State], list[Event]], rejected: frozenset[str] = frozenset()
    ) -> bool:
        state = State(version).members(alice="join", bob="join").levels(users={})
        chosen = choose(state)
        if version in until(11):
            chosen.insert(0, state.create)
        return self.is_allowed(state, chosen, rejected)

    def is_allowed(self, state: State, chosen: list[Event], rejected: frozenset[str] = frozenset()) -> bool:
        message = state.event("m.room.message", BOB, {})
        event = Event(
            message.event_id,
            message.room_id,
            message.type,
            message.sender,
            None,
            {},
            1,
            1,
            message.prev_events,
            tuple(each.event_id for each in chosen),
            None,
            state.rules,
            b"",
        )
        try:
            check_auth_events(event, {each.event_id: each for each in chosen}, rejected)
        except NotAllowed:
            return False
        return True

    def usual(self, state: State) -> list[Event]:
        return [state.entries["m.room.member", BOB], state.entries["m.room.power_levels", ""]]

    def test_selected_events_are_allowed(self) -> None:
        for version in ALL:
            self.assertTrue(self.judged(version, self.usual))

    def test_duplicates_are_refused(self) -> None:
        for version in ALL:
            self.assertFalse(
                self.judged(
                    version, lambda state: [*self.usual(state), state.put("m.room.power_levels", ALICE, {})]
                )
            )
            self.assertFalse(self.judged(version, lambda state: self.usual(state) * 2))

    def test_events_that_are_not_selected_are_refused(self) -> None:
        for version in ALL:
            self.assertFalse(
                self.judged(
                    version, lambda state: [*self.usual(state), state.entries["m.room.member", ALICE]]
                )
            )
            self.assertFalse(
                self.judged(
                    version, lambda state: [*self.usual(state), state.event("m.room.member", BOB, {})]
                )
            )

    def test_rejected_events_are_refused(self) -> None:
        for version in ALL:
            state = State(version).members(bob="join")
            chosen = [state.entries["m.room.member", BOB]] + ([] if version == "12" else [state.create])
            self.assertTrue(self.is_allowed(state, chosen))
            self.assertFalse(self.is_allowed(state, chosen, frozenset({chosen[0].event_id})))

    def test_events_of_other_rooms_are_refused(self) -> None:
        for version in ALL:
            self.assertFalse(
                self.judged(
                    version,
                    lambda state: [state.event("m.room.member", BOB, {}, BOB, room_id="!other:one.example")],
                )
            )

    def test_create_event_is_needed_up_to_version_11_and_refused_later(self) -> None:
        for version in ALL:
            state = State(version).members(bob="join")
            without = [state.entries["m.room.member", BOB]]
            self.assertEqual(self.is_allowed(state, without), version == "12")
            self.assertEqual(self.is_allowed(state, [*without, state.create]), version != "12")

    def test_unknown_auth_events_are_refused(self) -> None:
        state = State("12")
        event = state.event("m.room.message", BOB, {})
        check_auth_events(event, {})
        unknown = Event(
            "$e",
            event.room_id,
            "m.room.message",
            BOB,
            None,
            {},
            1,
            1,
            (),
            ("$unknown",),
            None,
            state.rules,
            b"",
        )
        self.assertRaises(NotAllowed, check_auth_events, unknown, {})
