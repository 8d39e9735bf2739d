"""Uploading, querying and claiming device keys."""

from typing import Any
from unittest.mock import patch

import orjson

from popcube_server.services.keys.claim_keys import MAX_DEVICES
from popcube_server.services.keys.query_keys import MAX_USERS
from storage.change import Change
from storage.committer import Committed
from storage.device_keys import SetFirstDeviceKeys
from storage.one_time_keys import MAX_PER_DEVICE
from tests.popcube_server.rest.client.keys_case import SIGNED, V3, KeysTestCase, signed
from tests.popcube_server.server_case import TWO, TestUser

UPLOAD = f"{V3}/keys/upload"


class UploadTests(KeysTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")

    def refuse(self, body: Any, status: int, errcode: str) -> None:
        self.assert_refused(self.post(UPLOAD, body, self.alice), status, errcode)

    def test_device_keys_are_published(self) -> None:
        keys = self.given_device_keys(self.alice)
        self.assertEqual(
            self.query(self.alice, self.alice)["device_keys"][self.alice.user_id],
            {self.alice.device_id: keys},
        )

    def test_upload_of_nothing_counts(self) -> None:
        self.assertEqual(self.upload(self.alice), {})
        self.upload(self.alice, one_time_keys=self.one_time_keys(self.alice, "A", "B"))
        self.assertEqual(self.upload(self.alice), {SIGNED: 2})
        self.assertEqual(self.upload(self.alice, device_keys=self.device_keys(self.alice)), {SIGNED: 2})

    def test_device_keys_must_name_the_caller(self) -> None:
        good = self.device_keys(self.alice)
        for field in ("user_id", "device_id"):
            self.refuse({"device_keys": {**good, field: "@mallory:one.example"}}, 400, "M_INVALID_PARAM")
        self.assertEqual(self.query(self.alice, self.alice)["device_keys"], {self.alice.user_id: {}})

    def test_device_keys_must_be_signed_by_the_device(self) -> None:
        good = self.device_keys(self.alice)
        self.refuse({"device_keys": {**good, "signatures": {}}}, 400, "M_INVALID_SIGNATURE")
        self.refuse({"device_keys": {**good, "algorithms": ["other"]}}, 400, "M_INVALID_SIGNATURE")
        stranger = signed({**good, "signatures": {}}, self.alice.user_id, self.alice.device_id, "stranger")
        self.refuse({"device_keys": stranger}, 400, "M_INVALID_SIGNATURE")
        without = {**good, "keys": {}}
        self.refuse({"device_keys": without}, 400, "M_BAD_JSON")

    def test_device_keys_have_types_and_a_size(self) -> None:
        good = self.device_keys(self.alice)
        not_objects: list[Any] = [[], "text", 5]
        for wrong in not_objects:
            self.refuse({"device_keys": wrong}, 400, "M_BAD_JSON")
        for field, value in (("algorithms", "text"), ("algorithms", [5]), ("keys", []), ("keys", {"a": 1})):
            self.refuse({"device_keys": {**good, field: value}}, 400, "M_BAD_JSON")
        self.refuse(
            {"device_keys": self.device_keys(self.alice, filling="x" * 70_000)}, 400, "M_INVALID_PARAM"
        )
        self.refuse(
            {"device_keys": {**self.device_keys(self.alice), "number": 1.5}}, 400, "M_INVALID_SIGNATURE"
        )

    def test_signatures_of_others_are_not_published(self) -> None:
        keys = signed(self.device_keys(self.alice), "@bob:one.example", "BOB", "bob")
        self.upload(self.alice, device_keys=keys)
        found = self.query(self.alice, self.alice)["device_keys"][self.alice.user_id][self.alice.device_id]
        self.assertEqual(list(found["signatures"]), [self.alice.user_id])

    def test_same_one_time_key_is_nothing_new_and_another_with_its_id_is_an_error(self) -> None:
        keys = self.one_time_keys(self.alice, "A")
        self.assertEqual(self.upload(self.alice, one_time_keys=keys), {SIGNED: 1})
        self.assertEqual(self.upload(self.alice, one_time_keys=keys), {SIGNED: 1})
        other = {f"{SIGNED}:A": {**keys[f"{SIGNED}:A"], "key": "other"}}
        answer = self.post(
            UPLOAD, {"one_time_keys": {**other, **self.one_time_keys(self.alice, "B")}}, self.alice
        )
        self.assert_refused(answer, 400, "M_INVALID_PARAM")
        self.assertRegex(answer[1]["error"], "^One time key signed_curve25519:A already exists")
        self.assertIn(b"popcube_one_time_key_clashes_total 1.0", self.get("/metrics")[1])
        self.assertEqual(self.upload(self.alice), {SIGNED: 1})

    def test_one_time_keys_have_names_types_and_sizes(self) -> None:
        for name in ("A", ":A", f"{SIGNED}:", f"{SIGNED}:{'x' * 255}"):
            self.refuse({"one_time_keys": {name: "key"}}, 400, "M_INVALID_PARAM")
        not_keys: list[Any] = [
            5,
            None,
            [],
            {"key": "k"},
            {"key": 5, "signatures": {}},
            {"key": "k", "signatures": {}, "x": 1.5},
        ]
        for key in not_keys:
            self.refuse({"one_time_keys": {f"{SIGNED}:A": key}}, 400, "M_BAD_JSON")
        self.refuse({"one_time_keys": {f"{SIGNED}:A": "x" * 9000}}, 400, "M_INVALID_PARAM")
        many = {f"curve25519:{number}": "key" for number in range(MAX_PER_DEVICE + 1)}
        self.refuse({"one_time_keys": many}, 400, "M_INVALID_PARAM")
        self.upload(self.alice, one_time_keys=dict(list(many.items())[:MAX_PER_DEVICE]))
        self.refuse({"one_time_keys": {"curve25519:more": "key"}}, 400, "M_INVALID_PARAM")

    def test_one_fallback_key_for_each_algorithm(self) -> None:
        two = self.one_time_keys(self.alice, "A", "B", fallback=True)
        self.refuse({"fallback_keys": two}, 400, "M_INVALID_PARAM")
        self.refuse({"fallback_keys": {f"algorithm{n}:A": "key" for n in range(11)}}, 400, "M_INVALID_PARAM")
        self.upload(self.alice, fallback_keys={f"algorithm{n}:A": "key" for n in range(10)})
        self.refuse({"fallback_keys": {"more:A": "key"}}, 400, "M_INVALID_PARAM")

    def test_first_upload_of_a_device_is_decided_in_its_commit(self) -> None:
        self.upload(self.alice)
        core = self.organisations["one.example"].core
        with patch.object(core.database, "read", wraps=core.database.read) as read:
            self.upload(
                self.alice,
                device_keys=self.device_keys(self.alice),
                one_time_keys=self.one_time_keys(self.alice, "A"),
            )
            read.assert_not_called()

    def test_who_uploads_first_keys_and_is_in_no_room_is_not_looked_for_in_rooms(self) -> None:
        room_id = self.given_room(self.given_user("bob"))
        self.upload(self.alice)
        self.clock.advance(1)
        core = self.organisations["one.example"].core
        with patch.object(core.database, "read", wraps=core.database.read) as read:
            self.given_device_keys(self.alice)
            # Now whoever tells other servers looks for those in the user's rooms.
            self.clock.advance(1)
            self.assertEqual(self.joined_rooms(), [])
            read.assert_not_called()
        self.given_joined(self.alice, room_id)
        self.assertEqual(self.joined_rooms(), [room_id])

    def test_who_uploads_first_keys_is_in_the_rooms_of_before(self) -> None:
        room_id = self.given_room(self.alice)
        self.restart()
        self.given_device_keys(self.alice)
        self.assertEqual(self.joined_rooms(), [room_id])

    def test_join_while_first_keys_are_written_is_not_missed(self) -> None:
        room_id = self.given_room(self.given_user("bob"))
        committer = self.organisations["one.example"].core.committer
        commit = committer.commit

        async def commit_and_join(*changes: Change) -> Committed:
            committed = await commit(*changes)
            if isinstance(changes[0], SetFirstDeviceKeys):
                self.given_joined(self.alice, room_id)
            return committed

        with patch.object(committer, "commit", commit_and_join):
            self.given_device_keys(self.alice)
        self.assertEqual(self.joined_rooms(), [room_id])

    def joined_rooms(self) -> list[str]:
        rooms: list[str] = self.checked("GET", f"{V3}/joined_rooms", None, self.alice)["joined_rooms"]
        return rooms

    def test_one_time_keys_that_came_before_the_identity_keys_count(self) -> None:
        keys = self.one_time_keys(self.alice, "A", "B")
        self.upload(self.alice, one_time_keys=keys)
        self.claim(self.alice, self.alice)
        identity = self.device_keys(self.alice)
        other = {f"{SIGNED}:B": {**keys[f"{SIGNED}:B"], "key": "other"}}
        self.refuse({"device_keys": identity, "one_time_keys": other}, 400, "M_INVALID_PARAM")
        self.assertEqual(self.query(self.alice, self.alice)["device_keys"][self.alice.user_id], {})
        more = {**keys, **self.one_time_keys(self.alice, "C")}
        self.assertEqual(self.upload(self.alice, device_keys=identity, one_time_keys=more), {SIGNED: 2})

    def test_same_identity_keys_again_are_no_news(self) -> None:
        keys = self.given_device_keys(self.alice)
        position = self.organisations["one.example"].core.log.position
        self.upload(self.alice, device_keys=keys)
        self.assertEqual(self.organisations["one.example"].core.log.position, position)
        # Nor after a restart, which remembers no devices.
        self.restart()
        for _ in range(2):
            self.upload(self.alice, device_keys=keys, one_time_keys=self.one_time_keys(self.alice, "A"))
        self.assertEqual(self.organisations["one.example"].core.log.position, position + 2)
        since = self.ok(self.get(f"{V3}/sync", self.alice))["next_batch"]
        self.upload(self.alice, device_keys=self.device_keys(self.alice, new="keys"))
        answer = self.ok(self.get(f"{V3}/sync?since={since}", self.alice))
        self.assertEqual(answer["device_lists"]["changed"], [self.alice.user_id])

    def test_refused_upload_changes_nothing(self) -> None:
        body = {"device_keys": self.device_keys(self.alice), "one_time_keys": {"A": "key"}}
        self.refuse(body, 400, "M_INVALID_PARAM")
        self.assertEqual(self.query(self.alice, self.alice)["device_keys"], {self.alice.user_id: {}})

    def test_token_is_needed(self) -> None:
        self.assert_refused(self.post(UPLOAD, {}), 401, "M_MISSING_TOKEN")


class QueryTests(KeysTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.given_user("alice"), self.given_user("bob")

    def test_some_or_all_devices_are_found(self) -> None:
        second = self.given_login(self.alice)
        for device in (self.alice, second):
            self.given_device_keys(device)
        found = self.query(self.bob, self.alice)["device_keys"][self.alice.user_id]
        self.assertEqual(found.keys(), {self.alice.device_id, second.device_id})
        body = {"device_keys": {self.alice.user_id: [second.device_id, "UNKNOWN", "A\0"]}}
        found = self.checked("POST", f"{V3}/keys/query", body, self.bob)["device_keys"][self.alice.user_id]
        self.assertEqual(found, {second.device_id: self.device_keys(second)})

    def test_display_name_is_told_unsigned(self) -> None:
        keys = self.given_device_keys(self.alice)
        path = f"{V3}/devices/{self.alice.device_id}"
        self.ok(self.put(path, {"display_name": 'Alice\'s "phone"'}, self.alice))
        found = self.query(self.bob, self.alice)["device_keys"][self.alice.user_id][self.alice.device_id]
        self.assertEqual(found, {**keys, "unsigned": {"device_display_name": 'Alice\'s "phone"'}})

    def test_unknown_users_are_left_out(self) -> None:
        body: Any = {"device_keys": {"@nobody:one.example": [], "@not a user": [], "@a\0:one.example": []}}
        self.assertEqual(self.ok(self.post(f"{V3}/keys/query", body, self.bob))["device_keys"], {})

    def test_other_servers_are_failures(self) -> None:
        body: Any = {"device_keys": {"@carol:other.example": [], self.alice.user_id: []}, "timeout": 10}
        answer = self.checked("POST", f"{V3}/keys/query", body, self.bob)
        self.assertEqual(list(answer["failures"]), ["other.example"])
        self.assertEqual(answer["device_keys"], {self.alice.user_id: {}})

    def test_wrong_bodies_are_refused(self) -> None:
        for body, errcode in (
            ({}, "M_MISSING_PARAM"),
            ({"device_keys": []}, "M_BAD_JSON"),
            ({"device_keys": {self.alice.user_id: "A"}}, "M_BAD_JSON"),
            ({"device_keys": {self.alice.user_id: [5]}}, "M_BAD_JSON"),
            ({"device_keys": {}, "timeout": "x"}, "M_BAD_JSON"),
        ):
            self.assert_refused(self.post(f"{V3}/keys/query", body, self.bob), 400, errcode)

    def test_a_million_users_are_too_many(self) -> None:
        body: Any = {"device_keys": {f"@{number}:one.example": [] for number in range(MAX_USERS + 1)}}
        self.assert_refused(self.post(f"{V3}/keys/query", body, self.bob), 413, "M_TOO_LARGE")

    def test_logged_out_device_is_gone(self) -> None:
        second = self.given_login(self.alice)
        self.given_device_keys(second)
        self.upload(second, one_time_keys=self.one_time_keys(second, "A"))
        self.ok(self.post(f"{V3}/logout", {}, second))
        self.assertEqual(self.query(self.bob, self.alice)["device_keys"], {self.alice.user_id: {}})
        self.assertEqual(self.claim(self.bob, second), {})

    def test_keys_of_the_other_organisation_are_not_seen(self) -> None:
        namesake = self.given_user("alice", TWO)
        self.given_device_keys(namesake)
        self.upload(namesake, one_time_keys=self.one_time_keys(namesake, "A"))
        self.network.down.add(TWO)
        body: Any = {"device_keys": {self.alice.user_id: []}}
        answer = self.checked("POST", f"{V3}/keys/query", body, self.alice)
        self.assertEqual(answer["device_keys"], {self.alice.user_id: {}})
        self.assertEqual(self.claim(self.alice, TestUser("", self.alice.user_id, "", namesake.device_id)), {})
        self.assertEqual(self.upload(namesake), {SIGNED: 1})

    def test_keys_are_there_after_a_restart(self) -> None:
        keys = self.given_device_keys(self.alice)
        self.upload(self.alice, one_time_keys=self.one_time_keys(self.alice, "A"))
        self.restart()
        self.assertEqual(
            self.query(self.bob, self.alice)["device_keys"][self.alice.user_id], {self.alice.device_id: keys}
        )
        self.assertEqual(self.upload(self.alice), {SIGNED: 1})


class ChangesTests(KeysTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.given_user("alice"), self.given_user("bob")
        self.room = self.given_room(self.alice)
        self.given_joined(self.bob, self.room)
        self.since = self.token()

    def token(self) -> str:
        return f"s{self.organisations['one.example'].core.log.position}.main"

    def changes(self, user: TestUser) -> tuple[list[str], list[str]]:
        path = f"{V3}/keys/changes?from={self.since}&to={self.token()}"
        answer = self.checked("GET", path, None, user)
        return answer["changed"], answer["left"]

    def test_users_who_share_a_room_are_told(self) -> None:
        carol = self.given_user("carol")
        self.assertEqual(self.changes(self.alice), ([], []))
        for user in (self.bob, carol):
            self.given_device_keys(user)
        self.assertEqual(self.changes(self.alice), ([self.bob.user_id], []))
        self.assertEqual(self.changes(carol), ([carol.user_id], []))

    def test_same_keys_again_are_no_change(self) -> None:
        self.given_device_keys(self.bob)
        self.since = self.token()
        self.given_device_keys(self.bob)
        self.upload(self.bob, one_time_keys=self.one_time_keys(self.bob, "A"))
        self.assertEqual(self.changes(self.alice), ([], []))

    def test_logging_out_and_cross_signing_are_changes(self) -> None:
        second = self.given_login(self.bob)
        self.since = self.token()
        self.ok(self.post(f"{V3}/logout", {}, second))
        self.assertEqual(self.changes(self.alice), ([self.bob.user_id], []))
        self.since = self.token()
        self.given_cross_signing(self.bob)
        self.assertEqual(self.changes(self.alice), ([self.bob.user_id], []))

    def test_those_who_leave_and_join_are_told(self) -> None:
        carol = self.given_user("carol")
        self.since = self.token()
        self.ok(self.post(f"{V3}/rooms/{self.room}/leave", {}, self.bob))
        self.given_joined(carol, self.room)
        self.assertEqual(self.changes(self.alice), ([carol.user_id], [self.bob.user_id]))
        self.assertEqual(self.changes(self.bob), ([], [self.alice.user_id]))
        self.assertEqual(self.changes(carol), ([self.alice.user_id], []))

    def test_wrong_tokens_are_refused(self) -> None:
        for query in (f"from={self.since}", f"to={self.since}"):
            self.assert_refused(self.get(f"{V3}/keys/changes?{query}", self.alice), 400, "M_MISSING_PARAM")
        for token in ("", "x", "s1", "-1", "s99999999999999999999.main"):
            path = f"{V3}/keys/changes?from={token}&to={self.since}"
            self.assertEqual(self.get(path, self.alice)[0], 400)


class ClaimTests(KeysTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.given_user("alice"), self.given_user("bob")

    def claimed(self, device: TestUser) -> list[str]:
        """Names of the keys that one claim of one device gets."""
        return list(self.claim(self.bob, device).get(device.user_id, {}).get(device.device_id, {}))

    def test_each_key_is_given_out_once_in_order_then_the_fallback_key(self) -> None:
        fallback = self.one_time_keys(self.alice, "F", fallback=True)
        for name in ("B", "A"):
            self.upload(self.alice, one_time_keys=self.one_time_keys(self.alice, name))
        self.upload(self.alice, fallback_keys=fallback)
        names = [self.claimed(self.alice) for _ in range(4)]
        self.assertEqual(names, [[f"{SIGNED}:B"], [f"{SIGNED}:A"], [f"{SIGNED}:F"], [f"{SIGNED}:F"]])
        self.assertEqual(self.claim(self.bob, self.alice)[self.alice.user_id][self.alice.device_id], fallback)
        self.assertEqual(self.upload(self.alice), {})

    def test_claim_of_a_used_fallback_key_writes_nothing(self) -> None:
        self.upload(self.alice, fallback_keys=self.one_time_keys(self.alice, "F"))
        self.claimed(self.alice)
        position = self.organisations["one.example"].core.log.position
        self.assertEqual(self.claimed(self.alice), [f"{SIGNED}:F"])
        self.assertEqual(self.organisations["one.example"].core.log.position, position)

    def test_claims_are_logged_with_user_and_device(self) -> None:
        self.upload(self.alice, one_time_keys=self.one_time_keys(self.alice, "A"))
        seen: list[Any] = []
        self.organisations["one.example"].core.log.follow(
            lambda entries: seen.extend((e.kind, e.key) for e in entries)
        )
        self.claimed(self.alice)
        self.assertEqual(seen, [("one_time_keys_claimed", (self.alice.user_id, self.alice.device_id))])

    def test_claims_of_one_request_are_one_entry_of_the_log(self) -> None:
        for user in (self.alice, self.bob):
            self.upload(user, one_time_keys=self.one_time_keys(user, "A"))
        log = self.organisations["one.example"].core.log
        position = log.position
        self.claim(self.bob, self.alice, self.bob)
        self.assertEqual(log.position, position + 1)

    def test_claims_one_after_the_other_get_all_keys_then_the_fallback_key_then_new_keys(self) -> None:
        self.upload(
            self.alice,
            one_time_keys=self.one_time_keys(self.alice, "A", "B"),
            fallback_keys=self.one_time_keys(self.alice, "F"),
        )
        self.assertEqual(
            [self.claimed(self.alice) for _ in range(4)], [[f"{SIGNED}:{name}"] for name in "ABFF"]
        )
        self.upload(self.alice, one_time_keys=self.one_time_keys(self.alice, "C"))
        self.assertEqual(
            [self.claimed(self.alice) for _ in range(2)], [[f"{SIGNED}:{name}"] for name in "CF"]
        )

    def test_unknown_algorithms_devices_and_users_are_left_out(self) -> None:
        self.upload(self.alice, one_time_keys=self.one_time_keys(self.alice, "A"))
        self.assertEqual(self.claim(self.bob, self.alice, algorithm="other"), {})
        body: Any = {
            "one_time_keys": {
                "@x:one.example": {"D": SIGNED},
                "@\0": {"D": SIGNED},
                self.alice.user_id: {"\0": SIGNED},
            }
        }
        self.assertEqual(self.ok(self.post(f"{V3}/keys/claim", body, self.bob))["one_time_keys"], {})
        self.assertEqual(self.upload(self.alice), {SIGNED: 1})

    def test_other_servers_are_failures(self) -> None:
        body: Any = {"one_time_keys": {"@carol:other.example": {"D": SIGNED}}}
        answer = self.checked("POST", f"{V3}/keys/claim", body, self.bob)
        self.assertEqual(list(answer["failures"]), ["other.example"])

    def test_wrong_bodies_are_refused(self) -> None:
        for body, errcode in (
            ({}, "M_MISSING_PARAM"),
            ({"one_time_keys": {self.alice.user_id: []}}, "M_BAD_JSON"),
            ({"one_time_keys": {self.alice.user_id: {"D": 5}}}, "M_BAD_JSON"),
        ):
            self.assert_refused(self.post(f"{V3}/keys/claim", body, self.bob), 400, errcode)
        many = {
            "one_time_keys": {self.alice.user_id: {f"D{number}": SIGNED for number in range(MAX_DEVICES + 1)}}
        }
        self.assert_refused(self.post(f"{V3}/keys/claim", many, self.bob), 413, "M_TOO_LARGE")

    def test_two_requests_at_the_same_time_get_different_keys(self) -> None:
        self.upload(self.alice, one_time_keys=self.one_time_keys(self.alice, *"ABCDEFGH"))
        body = {"one_time_keys": {self.alice.user_id: {self.alice.device_id: SIGNED}}}
        pending = [self.begin("POST", f"{V3}/keys/claim", body, self.bob) for _ in range(8)]
        answers = [orjson.dumps(self.ok(self.finish(one))["one_time_keys"]) for one in pending]
        self.assertEqual(len(set(answers)), 8)
