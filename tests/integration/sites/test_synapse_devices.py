"""What passes, messages to devices, and keys: between a Synapse and users who are at home at two sites."""

import http.client
import json
import ssl
import uuid
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from federation.room_dag.base64 import decode_base64
from federation.room_dag.signing import verify_signature
from tests.integration.federation.key_material import ALGORITHM, Device, another_session
from tests.integration.federation.listening import Listener
from tests.integration.federation.peers import User, eventually, quote
from tests.integration.federation.test_devices import ENCRYPTION, claim, devices
from tests.integration.federation.test_ephemeral import send_receipt, set_presence, set_typing
from tests.integration.sites.outside import SitePeer, at
from tests.integration.sites.outside_case import OutsideCase
from tests.integration.sites.sites import SITES
from tests.integration.sites.watch import pdus, sent_again


class PassingTests(OutsideCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bea = self.given_user(self.anna, "alice"), self.given_user(self.berta, "bea")
        self.sam = self.given_user(self.synapse, "sam")
        self.room_id = self.given_room_of_all(self.alice, self.bea, self.sam)

    def test_typing_receipts_and_presence_go_out_from_either_site(self) -> None:
        listener = Listener(self.sam)
        event_id = self.sam.send_text(self.room_id, "read me")
        for user in (self.alice, self.bea):
            self.wait_for_text(user, "read me")
            set_typing(user, self.room_id, timeout_ms=30_000)
            send_receipt(user, self.room_id, event_id)
            set_presence(user, "online", f"on {user.peer.name}")
        ids = {self.alice.user_id, self.bea.user_id}
        eventually(lambda: set(listener.hear().typing(self.room_id)) == ids, "both are seen typing")
        eventually(
            lambda: {receipt[2] for receipt in listener.hear().receipts(self.room_id)} >= ids,
            "both have read",
        )
        for user in (self.alice, self.bea):
            self.wait_for_presence(listener, user, f"on {user.peer.name}")
            set_typing(user, self.room_id)
        eventually(lambda: not listener.hear().typing(self.room_id), "nobody is seen typing")

    def test_typing_receipts_and_presence_come_to_both_sites_whichever_is_told(self) -> None:
        self.addCleanup(self.front.prefer, "anna")
        listeners = [Listener(self.alice), Listener(self.bea)]
        for site in SITES:
            self.front.prefer(site)
            event_id = self.bea.send_text(self.room_id, f"through {site}")
            self.wait_for_text(self.sam, f"through {site}")
            set_typing(self.sam, self.room_id, timeout_ms=30_000)
            send_receipt(self.sam, self.room_id, event_id)
            set_presence(self.sam, "online", f"through {site}")
            receipt = (event_id, "m.read", self.sam.user_id, None)
            for listener in listeners:
                self.wait_for_typing(listener, [self.sam.user_id])
                self.wait_for_receipt(listener, receipt)
                self.wait_for_presence(listener, self.sam, f"through {site}")
            set_typing(self.sam, self.room_id)
            for listener in listeners:
                self.wait_for_typing(listener, [])

    def test_messages_to_devices_come_once_to_a_device_at_either_site(self) -> None:
        self.addCleanup(self.front.prefer, "anna")
        far = Listener(self.sam)
        here = Listener(self.alice)
        wanted = []
        for site in SITES:
            self.front.prefer(site)
            send_to_device(self.sam, self.alice, f"through {site}")
            wanted.append(f"through {site}")
            self.wait_for_messages(here, wanted)
            send_to_device(at(self.all.peers[site], self.alice), self.sam, f"from {site}")
            self.wait_for_messages(far, [f"from {name}" for name in SITES[: SITES.index(site) + 1]])
        # What one site has told, and the client has confirmed, is not told by the other one.
        here.hear()
        there = at(self.berta, self.alice)
        eventually(lambda: Listener(there).bodies() == [], "nothing waits at the other site")

    def wait_for_text(self, user: User, text: str) -> None:
        eventually(lambda: text in user.texts(self.room_id), f"{text!r} on {user.peer.name}")

    def wait_for_typing(self, listener: Listener, user_ids: list[str]) -> None:
        eventually(lambda: list(listener.hear().typing(self.room_id)) == user_ids, f"typing: {user_ids}")

    def wait_for_receipt(self, listener: Listener, receipt: tuple[str, str, str, None]) -> None:
        eventually(lambda: receipt in listener.hear().receipts(self.room_id), f"the receipt {receipt}")

    def wait_for_presence(self, listener: Listener, user: User, message: str) -> None:
        def is_told() -> bool:
            content: Mapping[str, Any] = listener.hear().presence.get(user.user_id, {})
            return (content.get("presence"), content.get("status_msg")) == ("online", message)

        eventually(is_told, f"{user.user_id} is online, {message!r}")

    def wait_for_messages(self, listener: Listener, bodies: list[str]) -> None:
        eventually(lambda: listener.hear().bodies() == bodies, f"messages {bodies}")


class KeysTests(OutsideCase):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.front.prefer, "anna")
        self.alice, self.sam = self.given_user(self.anna, "alice"), self.given_user(self.synapse, "sam")

    def test_devices_of_either_site_are_told_and_theirs_are_known_at_both(self) -> None:
        room_id = self.alice.create_room(preset="public_chat", initial_state=[ENCRYPTION])
        self.sam.join(room_id, self.all.server_name)
        there = at(self.berta, self.alice)
        self.settle(room_id, self.alice, there, self.sam)
        listener = Listener(self.sam)
        first = Device(self.alice).upload()
        self.wait_for_devices(listener, self.sam, self.alice, {first.device_id})
        second = Device(another_session(there)).upload()
        self.wait_for_devices(listener, self.sam, self.alice, {first.device_id, second.device_id})
        for name in SITES:
            listeners = [Listener(self.alice), Listener(there)]
            self.front.prefer(name)
            Device(another_session(self.sam)).upload()
            ids = set(devices(self.sam, self.sam))
            for user, each in zip((self.alice, there), listeners, strict=True):
                self.wait_for_devices(each, user, self.sam, ids)

    def test_no_key_is_given_twice_whichever_site_is_asked(self) -> None:
        device = Device(self.alice).upload(one_time=6, fallback=True)
        names: list[str] = []
        for number in range(8):
            names += self.claim_at(SITES[number % 2], device)
        self.check_claims(names, count=6)

    def test_no_key_is_given_twice_while_the_sites_do_not_see_each_other(self) -> None:
        device = Device(self.alice).upload(one_time=6, fallback=True)
        names: list[str] = []
        # Both know of the keys.
        for name in SITES:
            names += self.claim_at(name, device)
        self.sites.cut_link()
        try:
            for number in range(8):
                names += self.claim_at(SITES[number % 2], device)
        finally:
            self.sites.heal()
        self.assertEqual(len(names), 10)
        own = [name for name in names if name != f"{ALGORITHM}:fallback"]
        self.assertEqual(len(set(own)), len(own), names)

    def claim_at(self, site: str, device: Device) -> Mapping[str, Any]:
        """What Sam is given when a site is asked."""
        self.front.prefer(site)
        # Synapse may not have seen yet that its connection is gone. What it sends on that arrives nowhere, so that no
        # key is given for it; and it does not try another one by itself.
        return eventually(lambda: claim(self.sam, device), f"keys are claimed at {site}")

    def check_claims(self, names: list[str], count: int) -> None:
        """So many one-time keys, each once, and then the fallback key."""
        own = [name for name in names if name != f"{ALGORITHM}:fallback"]
        self.assertEqual((len(own), len(set(own))), (count, count), names)
        self.assertEqual(names[count:], [f"{ALGORITHM}:fallback"] * (len(names) - count))

    def test_the_key_document_is_the_same_at_both_sites_and_signed_by_each(self) -> None:
        documents = [self.key_document(site) for site in self.all.peers.values()]
        self.assertEqual(documents[0], documents[1])
        keys = documents[0]["verify_keys"]
        self.assertEqual(keys.keys(), {f"ed25519:{name}" for name in SITES})
        for key_id, key in keys.items():
            verify_signature(documents[0], self.all.server_name, key_id, decode_base64(key["key"]))

    def test_events_signed_by_either_site_are_believed(self) -> None:
        bea = self.given_user(self.berta, "bea")
        room_id = self.given_room_of_all(self.alice, bea, self.sam)
        texts = ["signed by anna", "signed by berta"]
        for user, text in zip((self.alice, bea), texts, strict=True):
            user.send_text(room_id, text)
        self.check_texts([self.sam], room_id, texts)
        for name in SITES:
            (pdu,) = pdus(
                self.transactions(),
                lambda pdu: pdu["content"].get("body") == f"signed by {name}",  # noqa: B023
            )
            self.assertEqual(pdu["signatures"][self.all.server_name].keys(), {f"ed25519:{name}"})
        self.assertEqual(sent_again(self.transactions()), [])

    def key_document(self, site: SitePeer) -> Any:
        context = ssl.create_default_context(cafile=str(self.all.authority.certificate))
        with closing(http.client.HTTPSConnection("localhost", site.federation_port, context=context)) as one:
            one.request("GET", "/_matrix/key/v2/server", headers={"Host": self.all.server_name})
            return json.loads(one.getresponse().read())

    def wait_for_devices(self, listener: Listener, seen_by: User, user: User, ids: set[str]) -> None:
        eventually(lambda: user.user_id in listener.hear().changed, f"{seen_by.user_id} hears of new devices")
        eventually(lambda: devices(seen_by, user).keys() == ids, f"{seen_by.user_id} sees {ids}")


def send_to_device(user: User, other: User, text: str) -> None:
    body = {"messages": {other.user_id: {"*": {"body": text}}}}
    user.put(f"/sendToDevice/org.example.text/{quote(uuid.uuid4().hex)}", body)
