"""Cross-signing keys and signatures: who may publish them, and who sees them."""

from typing import Any

from storage.log import LogRepository
from tests.popcube_server.rest.client.keys_case import V3, KeysTestCase, public_key, signed
from tests.popcube_server.server_case import TWO, TestUser

UPLOAD = f"{V3}/keys/device_signing/upload"
SIGNATURES = f"{V3}/keys/signatures/upload"


class CrossSigningTestCase(KeysTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.given_user("alice"), self.given_user("bob")

    def seen(self, viewer: TestUser, owner: TestUser) -> dict[str, Any]:
        """The owner's cross-signing keys as the viewer sees them."""
        answer = self.query(viewer, owner)
        fields = ("master_keys", "self_signing_keys", "user_signing_keys")
        return {
            field[:-1]: answer[field][owner.user_id] for field in fields if owner.user_id in answer[field]
        }

    def list_changes(self) -> list[tuple[str, ...]]:
        """Keys of the device list changes in the log."""
        core = self.organisations["one.example"].core
        entries = core.database.read_now(lambda tx: LogRepository().read_after(tx, 0, 1000))
        return [entry.key for entry in entries if entry.kind == "device_list"]


class UploadTests(CrossSigningTestCase):
    def test_keys_are_published_and_the_user_signing_key_only_to_the_owner(self) -> None:
        keys = self.given_cross_signing(self.alice)
        self.assertEqual(self.seen(self.alice, self.alice), keys)
        del keys["user_signing_key"]
        self.assertEqual(self.seen(self.bob, self.alice), keys)

    def test_same_keys_again_need_no_authentication(self) -> None:
        keys = self.given_cross_signing(self.alice)
        before = self.list_changes()
        self.checked("POST", UPLOAD, keys, self.alice)
        self.checked("POST", UPLOAD, {"self_signing_key": keys["self_signing_key"]}, self.alice)
        self.assertEqual(self.list_changes(), before)

    def test_other_keys_need_the_password(self) -> None:
        keys = self.given_cross_signing(self.alice)
        new = self.cross_signing_keys(self.alice, "new ")
        status, asked = self.post(UPLOAD, new, self.alice)
        self.assertEqual((status, asked["flows"]), (401, [{"stages": ["m.login.password"]}]))
        auth = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": "alice"},
            "password": "wrong",
            "session": asked["session"],
        }
        self.assertEqual(self.post(UPLOAD, {**new, "auth": auth}, self.alice)[0], 401)
        self.assertEqual(self.seen(self.alice, self.alice), keys)
        self.ok(self.post(UPLOAD, {**new, "auth": {**auth, "password": "password of alice"}}, self.alice))
        self.assertEqual(self.seen(self.alice, self.alice), new)

    def test_adding_a_key_to_a_master_key_needs_the_password(self) -> None:
        keys = self.cross_signing_keys(self.alice)
        self.checked("POST", UPLOAD, {"master_key": keys["master_key"]}, self.alice)
        self.assertEqual(
            self.post(UPLOAD, {"self_signing_key": keys["self_signing_key"]}, self.alice)[0], 401
        )
        self.assertEqual(self.post(UPLOAD, keys, self.alice)[0], 401)

    def test_other_keys_must_be_signed_by_the_master_key(self) -> None:
        keys = self.cross_signing_keys(self.alice)
        for field in ("self_signing_key", "user_signing_key"):
            for wrong in (
                {**keys[field], "signatures": {}},
                {**keys[field], "more": "content"},
                self.cross_signing_key(self.alice, field.removesuffix("_key"), "new", "other master"),
            ):
                self.assert_refused(
                    self.post(UPLOAD, {**keys, field: wrong}, self.alice), 400, "M_INVALID_SIGNATURE"
                )
        self.assertEqual(self.seen(self.alice, self.alice), {})

    def test_master_key_is_needed(self) -> None:
        keys = self.cross_signing_keys(self.alice)
        body = {"self_signing_key": keys["self_signing_key"]}
        self.assert_refused(self.post(UPLOAD, body, self.alice), 400, "M_MISSING_PARAM")
        self.assert_refused(self.post(UPLOAD, {}, self.alice), 400, "M_MISSING_PARAM")

    def test_keys_have_a_form(self) -> None:
        good = self.cross_signing_keys(self.alice)["master_key"]
        other = public_key("other")
        for change, errcode in (
            ({"user_id": self.bob.user_id}, "M_INVALID_PARAM"),
            ({"usage": ["self_signing"]}, "M_INVALID_PARAM"),
            ({"usage": "master"}, "M_INVALID_PARAM"),
            ({"keys": {}}, "M_INVALID_PARAM"),
            ({"keys": {**good["keys"], f"ed25519:{other}": other}}, "M_INVALID_PARAM"),
            ({"keys": {"ed25519:name": other}}, "M_INVALID_PARAM"),
            ({"keys": {"ed25519:short": "short"}}, "M_INVALID_PARAM"),
            ({"signatures": {self.alice.user_id: {"ed25519:X": 5}}}, "M_BAD_JSON"),
            ({"more": 1.5}, "M_BAD_JSON"),
            ({"more": "x" * 70_000}, "M_INVALID_PARAM"),
        ):
            answer = self.post(UPLOAD, {"master_key": {**good, **change}}, self.alice)
            self.assert_refused(answer, 400, errcode)
        self.assert_refused(self.post(UPLOAD, {"master_key": []}, self.alice), 400, "M_BAD_JSON")
        self.checked("POST", UPLOAD, {"master_key": good}, self.alice)

    def test_one_key_for_two_uses_is_refused(self) -> None:
        keys = self.cross_signing_keys(self.alice)
        same = {**keys["self_signing_key"], "usage": ["self_signing", "user_signing"], "signatures": {}}
        master = f"master {self.alice.user_id}"
        same = signed(same, self.alice.user_id, public_key(master), master)
        body = {**keys, "self_signing_key": same, "user_signing_key": same}
        self.assert_refused(self.post(UPLOAD, body, self.alice), 400, "M_INVALID_PARAM")

    def test_key_called_like_a_device_is_refused(self) -> None:
        self.given_login(self.alice, public_key(f"master {self.alice.user_id}"))
        self.assert_refused(
            self.post(UPLOAD, self.cross_signing_keys(self.alice), self.alice), 403, "M_FORBIDDEN"
        )

    def test_device_called_like_a_key_publishes_nothing(self) -> None:
        self.given_cross_signing(self.alice)
        status, answer = self.post(
            f"{V3}/login",
            {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": "alice"},
                "password": "password of alice",
                "device_id": public_key(f"master {self.alice.user_id}"),
            },
        )
        if status == 200:
            device = TestUser("one.example", self.alice.user_id, answer["access_token"], answer["device_id"])
            body = {"device_keys": self.device_keys(device)}
            self.assert_refused(self.post(f"{V3}/keys/upload", body, device), 403, "M_FORBIDDEN")

    def test_changes_are_told_to_those_who_see_them(self) -> None:
        keys = self.cross_signing_keys(self.alice)
        self.checked("POST", UPLOAD, {"master_key": keys["master_key"]}, self.alice)
        self.assertEqual(self.list_changes()[-1], (self.alice.user_id,))

    def test_other_organisation_does_not_see_them(self) -> None:
        self.given_cross_signing(self.alice)
        namesake = self.given_user("alice", TWO)
        # Only by asking as any other server would.
        self.network.down.add("one.example")
        answer = self.query(namesake, self.alice)
        self.assertEqual((answer["master_keys"], list(answer["failures"])), ({}, ["one.example"]))


class SignaturesTests(CrossSigningTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.device = self.given_device_keys(self.alice)
        self.keys = self.given_cross_signing(self.alice)
        self.bobs_keys = self.given_cross_signing(self.bob)
        self.master = public_key(f"master {self.alice.user_id}")
        self.bobs_master = public_key(f"master {self.bob.user_id}")

    def sign(self, key: dict[str, Any], name: str, key_id: str | None = None) -> dict[str, Any]:
        """Alice's signature alone, with one of her keys."""
        bare = {**key, "signatures": {}}
        return signed(bare, self.alice.user_id, public_key(name) if key_id is None else key_id, name)

    def publish(self, user_id: str, key_id: str, key: Any) -> Any:
        return self.checked("POST", SIGNATURES, {user_id: {key_id: key}}, self.alice)["failures"]

    def assert_fails(self, user_id: str, key_id: str, key: Any, errcode: str) -> None:
        failures = self.publish(user_id, key_id, key)
        self.assertEqual(failures[user_id][key_id]["errcode"], errcode)

    def test_own_device_is_signed_by_the_self_signing_key(self) -> None:
        name = f"self_signing {self.alice.user_id}"
        self.assertEqual(
            self.publish(self.alice.user_id, self.alice.device_id, self.sign(self.device, name)), {}
        )
        for viewer in (self.alice, self.bob):
            devices = self.query(viewer, self.alice)["device_keys"][self.alice.user_id]
            signatures = devices[self.alice.device_id]["signatures"][self.alice.user_id]
            self.assertEqual(
                signatures.keys(), {f"ed25519:{self.alice.device_id}", f"ed25519:{public_key(name)}"}
            )
        self.assertEqual(self.list_changes()[-1], (self.alice.user_id,))

    def test_own_master_key_is_signed_by_a_device(self) -> None:
        device_id = self.alice.device_id
        self.assertEqual(
            self.publish(
                self.alice.user_id, self.master, self.sign(self.keys["master_key"], device_id, device_id)
            ),
            {},
        )
        for viewer in (self.alice, self.bob):
            signatures = self.seen(viewer, self.alice)["master_key"]["signatures"]
            self.assertEqual(list(signatures[self.alice.user_id]), [f"ed25519:{device_id}"])

    def test_other_master_key_is_signed_by_the_user_signing_key_for_the_signer_alone(self) -> None:
        name = f"user_signing {self.alice.user_id}"
        key = self.sign(self.bobs_keys["master_key"], name)
        self.assertEqual(self.publish(self.bob.user_id, self.bobs_master, key), {})
        self.assertEqual(self.seen(self.alice, self.bob)["master_key"], key)
        carol = self.given_user("carol")
        for viewer in (self.bob, carol):
            self.assertEqual(self.seen(viewer, self.bob)["master_key"], self.bobs_keys["master_key"])
        self.assertEqual(self.list_changes()[-1], (self.bob.user_id, self.alice.user_id))

    def test_same_signature_again_changes_nothing(self) -> None:
        key = self.sign(self.device, f"self_signing {self.alice.user_id}")
        self.publish(self.alice.user_id, self.alice.device_id, key)
        before = self.list_changes()
        self.assertEqual(self.publish(self.alice.user_id, self.alice.device_id, key), {})
        self.assertEqual(self.list_changes(), before)

    def test_wrong_signatures_fail_one_by_one(self) -> None:
        name = f"self_signing {self.alice.user_id}"
        good = self.sign(self.device, name)
        forged = {**good, "signatures": {self.alice.user_id: {f"ed25519:{public_key(name)}": "AAAA"}}}
        bobs = {**self.bobs_keys["master_key"], "signatures": {}}
        body = {
            self.alice.user_id: {
                self.alice.device_id: forged,
                self.master: self.keys["master_key"],
                "UNKNOWN": good,
            },
            self.bob.user_id: {self.bobs_master: self.sign(bobs, name), "DEVICE": good},
        }
        failures = self.checked("POST", SIGNATURES, body, self.alice)["failures"]
        codes = {key_id: error["errcode"] for keys in failures.values() for key_id, error in keys.items()}
        self.assertEqual(
            codes,
            {
                self.alice.device_id: "M_INVALID_SIGNATURE",
                self.master: "M_INVALID_SIGNATURE",
                "UNKNOWN": "M_NOT_FOUND",
                self.bobs_master: "M_INVALID_SIGNATURE",
                "DEVICE": "M_NOT_FOUND",
            },
        )

    def test_right_signatures_are_stored_beside_wrong_ones(self) -> None:
        good = self.sign(self.device, f"self_signing {self.alice.user_id}")
        body = {self.alice.user_id: {self.alice.device_id: good, "UNKNOWN": good}}
        self.assertEqual(
            list(self.checked("POST", SIGNATURES, body, self.alice)["failures"][self.alice.user_id]),
            ["UNKNOWN"],
        )
        devices = self.query(self.bob, self.alice)["device_keys"][self.alice.user_id]
        self.assertEqual(len(devices[self.alice.device_id]["signatures"][self.alice.user_id]), 2)

    def test_signed_key_must_be_the_one_that_was_uploaded(self) -> None:
        name = f"self_signing {self.alice.user_id}"
        other = self.sign({**self.device, "algorithms": []}, name)
        self.assert_fails(self.alice.user_id, self.alice.device_id, other, "M_INVALID_PARAM")
        self.assert_fails(self.alice.user_id, self.alice.device_id, {**other, "x": 1.5}, "M_INVALID_PARAM")

    def test_devices_of_others_cannot_be_signed(self) -> None:
        device = self.given_device_keys(self.bob)
        key = self.sign(device, f"user_signing {self.alice.user_id}")
        self.assert_fails(self.bob.user_id, self.bob.device_id, key, "M_NOT_FOUND")

    def test_wrong_bodies_are_refused(self) -> None:
        self.assert_refused(self.post(SIGNATURES, {self.alice.user_id: []}, self.alice), 400, "M_BAD_JSON")
        failures = self.ok(
            self.post(SIGNATURES, {self.alice.user_id: {"D": 5}, "x\0": {"D": {}}}, self.alice)
        )["failures"]
        self.assertEqual(failures[self.alice.user_id]["D"]["errcode"], "M_BAD_JSON")
        self.assertEqual(failures["x\0"]["D"]["errcode"], "M_NOT_FOUND")
        many: Any = {self.alice.user_id: {f"D{number}": {} for number in range(1001)}}
        self.assert_refused(self.post(SIGNATURES, many, self.alice), 413, "M_TOO_LARGE")
