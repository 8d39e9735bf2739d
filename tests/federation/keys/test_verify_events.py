"""The signatures on events of other servers."""

from dataclasses import replace
from typing import Any

from nacl.signing import SigningKey
from twisted.internet.defer import Deferred

from federation.keys.verify_events import KeysUnavailable, VerifyEvents
from federation.room_dag.event import Event, EventTemplate, build_event, decode_pdu, parse_event, sign_event
from federation.room_dag.room_versions import get_room_rules
from federation.room_dag.signing import EventSigner, InvalidSignature
from tests.federation.keys.test_key_ring import DAY_MS, FAR, NOW_MS, KeyRingCase, KeyServer

OTHER = "other.example"


class VerifyEventsTests(KeyRingCase):
    def setUp(self) -> None:
        super().setUp()
        self.other = KeyServer(OTHER)
        self.up(self.far, self.other)
        self.verify_events = VerifyEvents(self.ring)

    def event(self, version: str = "11", **options: Any) -> Event:
        sender = f"@alice:{options.get('sender_server', FAR)}"
        content = options.get("content", {"body": "hello"})
        template = EventTemplate(
            options.get("type", "m.room.message"),
            sender,
            "!room:far.example",
            options.get("state_key"),
            content,
            options.get("at", NOW_MS),
            5,
            [],
            [],
        )
        signer = options.get("signer", self.far.signers[0])
        return build_event(template, get_room_rules(version), signer, "local" if version in "12" else None)

    def tampered(self, event: Event, **changes: Any) -> Event:
        return parse_event({**decode_pdu(event), **changes}, event.rules)

    def verify(self, event: Event) -> None:
        self.successResultOf(Deferred.fromCoroutine(VerifyEvents(self.ring).verify(event)))

    def assert_invalid(self, event: Event, kind: type[Exception] = InvalidSignature) -> None:
        work = Deferred.fromCoroutine(VerifyEvents(self.ring).verify(event))
        error = self.failureResultOf(work, InvalidSignature).value
        self.assertIs(type(error), kind, str(error))

    def test_events_of_every_version_signed_by_their_senders_server(self) -> None:
        for number in range(1, 12):
            self.verify(self.event(str(number)))
        self.assertEqual(self.far.asked, ["own"])

    def test_what_redaction_removes_is_not_signed_and_everything_else_is(self) -> None:
        event = self.event()
        self.verify(self.tampered(event, content={"body": "other"}))
        self.assert_invalid(self.tampered(event, depth=6))
        self.assert_invalid(self.tampered(event, sender=f"@bob:{FAR}"))

    def test_signature_of_another_server_is_not_enough(self) -> None:
        self.assert_invalid(self.event(signer=self.other.signers[0]))
        unsigned = self.tampered(self.event(), signatures={})
        self.assert_invalid(unsigned)
        self.assert_invalid(self.tampered(self.event(), signatures={FAR: {"ed25519:k": "!"}}))

    def test_unknown_keys_are_skipped_and_known_ones_must_all_be_right(self) -> None:
        event = self.event()
        good = decode_pdu(event)["signatures"][FAR]["ed25519:k"]
        self.verify(self.tampered(event, signatures={FAR: {"ed25519:k": good, "ed25519:new": "AAAA"}}))
        self.assert_invalid(self.tampered(event, signatures={FAR: {"ed25519:new": "AAAA"}}), KeysUnavailable)
        self.far.signers = KeyServer(FAR, "k", "l").signers
        self.restart_later()
        self.assert_invalid(self.tampered(event, signatures={FAR: {"ed25519:k": good, "ed25519:l": good}}))

    def restart_later(self) -> None:
        self.clock.advance(61)
        self.open()

    def test_a_key_must_have_been_valid_when_it_signed_except_in_old_versions(self) -> None:
        late = NOW_MS + 20 * DAY_MS
        self.assert_invalid(self.event("11", at=late), KeysUnavailable)
        self.assert_invalid(self.event("5", at=late), KeysUnavailable)
        self.verify(self.event("4", at=late))

    def test_version_1_wants_the_server_of_the_event_id_too(self) -> None:
        event = self.event("1", sender_server=OTHER, signer=self.far.signers[0])
        self.assert_invalid(event)
        self.verify(sign_event(event, self.other.signers[0]))

    def test_restricted_join_wants_the_authorising_server_too(self) -> None:
        content = {"membership": "join", "join_authorised_via_users_server": f"@admin:{OTHER}"}
        event = self.event("11", type="m.room.member", state_key=f"@alice:{FAR}", content=content)
        self.assert_invalid(event)
        self.verify(sign_event(event, self.other.signers[0]))
        for nobody in ("nobody", 5, "@x:", None):
            content = {**content, "join_authorised_via_users_server": nobody}  # type: ignore[dict-item]
            if nobody is not None:
                self.assert_invalid(
                    self.event("11", type="m.room.member", state_key=f"@alice:{FAR}", content=content)
                )

    def test_third_party_invite_need_not_be_signed_by_its_senders_server(self) -> None:
        content = {"membership": "invite", "third_party_invite": {"signed": {}}}
        event = self.event("11", type="m.room.member", state_key="@bob:own.example", content=content)
        self.verify(self.tampered(event, signatures={}))

    def test_too_many_signatures_are_not_looked_at(self) -> None:
        many = {f"ed25519:{number}": "AAAA" for number in range(21)}
        self.assert_invalid(self.tampered(self.event(), signatures={FAR: many}))
        self.assertEqual(self.https.requests, [])

    def test_of_many_events_the_bad_ones_are_told_and_keys_fetched_together(self) -> None:
        servers = [KeyServer(f"s{number}.example") for number in range(10)]
        self.with_notary(*servers, pinned=True)
        events = [self.event(sender_server=server.name, signer=server.signers[0]) for server in servers]
        forger = EventSigner(servers[3].name, "ed25519:k", SigningKey(b"x" * 32))
        events[3] = self.event(sender_server=servers[3].name, signer=forger)
        events[4] = self.tampered(events[4], signatures={})
        events[5] = replace(self.event(sender_server="gone.example"), event_id="$gone")
        work = VerifyEvents(self.ring).find_invalid(events)
        invalid = self.successResultOf(Deferred.fromCoroutine(work))
        self.assertEqual(set(invalid), {events[3].event_id, events[4].event_id, "$gone"})
        self.assertEqual(len(self.notary.asked), 1)
