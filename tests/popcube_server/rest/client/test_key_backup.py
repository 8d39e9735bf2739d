"""Key backups over HTTP: versions, and keys in all their spellings."""

from typing import Any

from tests.popcube_server.rest.client.keys_case import V3, KeysTestCase
from tests.popcube_server.server_case import TWO

VERSION = f"{V3}/room_keys/version"
KEYS = f"{V3}/room_keys/keys"
ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"
ROOM = "!room:one.example"
OTHER = "!other:one.example"


def session_key(first: int = 5, forwarded: int = 2, verified: bool = False) -> dict[str, Any]:
    return {
        "first_message_index": first,
        "forwarded_count": forwarded,
        "is_verified": verified,
        "session_data": {"ciphertext": f"{first} {forwarded} {verified}"},
    }


class KeyBackupTests(KeysTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")

    def create(self, auth_data: str = "k") -> str:
        body = {"algorithm": ALGORITHM, "auth_data": {"public_key": auth_data}}
        version: str = self.checked("POST", VERSION, body, self.alice)["version"]
        return version

    def put_keys(self, path: str, body: Any, version: str = "1") -> tuple[str, int]:
        answer = self.checked("PUT", f"{KEYS}{path}?version={version}", body, self.alice)
        return answer["etag"], answer["count"]

    def get_keys(self, path: str = "", version: str = "1") -> Any:
        return self.checked("GET", f"{KEYS}{path}?version={version}", None, self.alice)

    def test_newest_version_is_the_current_one(self) -> None:
        self.assert_refused(self.get(VERSION, self.alice), 404, "M_NOT_FOUND")
        first, second = self.create("first"), self.create("second")
        current = self.checked("GET", VERSION, None, self.alice)
        self.assertEqual(
            current,
            {
                "algorithm": ALGORITHM,
                "auth_data": {"public_key": "second"},
                "count": 0,
                "etag": "0",
                "version": second,
            },
        )
        self.assertEqual(
            self.checked("GET", f"{VERSION}/{first}", None, self.alice)["auth_data"], {"public_key": "first"}
        )
        for unknown in ("9", "x", "-1", "%00", "1.0", "9" * 30, "%D9%A1"):
            self.assert_refused(self.get(f"{VERSION}/{unknown}", self.alice), 404, "M_NOT_FOUND")

    def test_auth_data_can_be_changed_and_nothing_else(self) -> None:
        version = self.create()
        path = f"{VERSION}/{version}"
        new = {"algorithm": ALGORITHM, "auth_data": {"public_key": "new"}}
        self.checked("PUT", path, {**new, "version": version}, self.alice)
        for wrong in ({**new, "version": "2"}, {**new, "algorithm": "other"}):
            self.assert_refused(self.put(path, wrong, self.alice), 400, "M_INVALID_PARAM")
        self.assert_refused(self.put(path, {"algorithm": ALGORITHM}, self.alice), 400, "M_MISSING_PARAM")
        self.assert_refused(self.put(f"{VERSION}/2", new, self.alice), 404, "M_NOT_FOUND")
        self.assertEqual(self.checked("GET", path, None, self.alice)["auth_data"], {"public_key": "new"})

    def test_deleted_version_is_gone(self) -> None:
        first, second = self.create(), self.create()
        self.put_keys(f"/{ROOM}/s", session_key(), second)
        for _ in range(2):
            self.checked("DELETE", f"{VERSION}/{second}", None, self.alice)
        self.assert_refused(self.delete(f"{VERSION}/9", self.alice), 404, "M_NOT_FOUND")
        self.assert_refused(self.get(f"{VERSION}/{second}", self.alice), 404, "M_NOT_FOUND")
        self.assert_refused(self.get(f"{KEYS}?version={second}", self.alice), 404, "M_NOT_FOUND")
        self.assertEqual(self.checked("GET", VERSION, None, self.alice)["version"], first)

    def test_keys_in_all_spellings(self) -> None:
        self.create()
        self.assertEqual(self.put_keys("", {"rooms": {ROOM: {"sessions": {"a": session_key()}}}}), ("1", 1))
        self.assertEqual(
            self.put_keys(f"/{ROOM}", {"sessions": {"b": session_key(), "c": session_key()}}), ("2", 3)
        )
        self.assertEqual(self.put_keys(f"/{OTHER}/s%2Fx", session_key(1)), ("3", 4))
        room = {"sessions": {name: session_key() for name in "abc"}}
        self.assertEqual(
            self.get_keys(), {"rooms": {ROOM: room, OTHER: {"sessions": {"s/x": session_key(1)}}}}
        )
        self.assertEqual(self.get_keys(f"/{ROOM}"), room)
        self.assertEqual(self.get_keys(f"/{OTHER}/s%2Fx"), session_key(1))
        for path, expected in ((f"/{ROOM}/a", ("4", 3)), (f"/{ROOM}", ("5", 1)), ("", ("6", 0))):
            answer = self.checked("DELETE", f"{KEYS}{path}?version=1", None, self.alice)
            self.assertEqual((answer["etag"], answer["count"]), expected)
        self.assertEqual(self.get_keys(), {"rooms": {}})
        self.assertEqual(self.get_keys(f"/{ROOM}"), {"sessions": {}})
        self.assert_refused(self.get(f"{KEYS}/{ROOM}/a?version=1", self.alice), 404, "M_NOT_FOUND")

    def test_better_key_is_kept(self) -> None:
        self.create()
        path = f"/{ROOM}/s"
        self.put_keys(path, session_key(5, 2))
        self.assertEqual(self.put_keys(path, session_key(6, 0)), ("1", 1))
        for better, etag in (
            (session_key(5, 1), "2"),
            (session_key(4, 9), "3"),
            (session_key(9, 9, True), "4"),
        ):
            self.assertEqual(self.put_keys(path, better), (etag, 1))
            self.assertEqual(self.get_keys(path), better)
        self.assertEqual(self.put_keys(path, session_key(0, 0)), ("4", 1))

    def test_only_the_current_version_is_written(self) -> None:
        path = f"{KEYS}/{ROOM}/s"
        self.assert_refused(self.put(f"{path}?version=1", session_key(), self.alice), 404, "M_NOT_FOUND")
        self.create()
        self.create()
        for body, spelling in (
            (session_key(), f"/{ROOM}/s"),
            ({"sessions": {}}, f"/{ROOM}"),
            ({"rooms": {}}, ""),
        ):
            answer = self.put(f"{KEYS}{spelling}?version=1", body, self.alice)
            self.assert_refused(answer, 403, "M_WRONG_ROOM_KEYS_VERSION")
            self.assertEqual(answer[1]["current_version"], "2")
        self.assert_refused(self.put(path, session_key(), self.alice), 400, "M_MISSING_PARAM")

    def test_keys_have_types_and_sizes(self) -> None:
        self.create()
        path = f"{KEYS}/{ROOM}/s?version=1"
        for field, value, errcode in (
            ("first_message_index", -1, "M_INVALID_PARAM"),
            ("first_message_index", 2**53, "M_INVALID_PARAM"),
            ("forwarded_count", "1", "M_BAD_JSON"),
            ("forwarded_count", None, "M_MISSING_PARAM"),
            ("is_verified", 1, "M_BAD_JSON"),
            ("is_verified", None, "M_MISSING_PARAM"),
            ("session_data", "text", "M_BAD_JSON"),
            ("session_data", None, "M_MISSING_PARAM"),
            ("session_data", {"x": "x" * 70_000}, "M_INVALID_PARAM"),
        ):
            self.assert_refused(self.put(path, {**session_key(), field: value}, self.alice), 400, errcode)
        self.assert_refused(
            self.put(f"{KEYS}/{ROOM}/{'s' * 256}?version=1", session_key(), self.alice),
            400,
            "M_INVALID_PARAM",
        )
        wrong: list[Any] = [{"rooms": {ROOM: []}}, {"rooms": {ROOM: {"sessions": {"s": 5}}}}, {"rooms": 5}]
        for body in wrong:
            self.assert_refused(self.put(f"{KEYS}?version=1", body, self.alice), 400, "M_BAD_JSON")
        self.assertEqual(self.get_keys(), {"rooms": {}})

    def test_definitions_have_types_and_sizes(self) -> None:
        for body, errcode in (
            ({"auth_data": {}}, "M_MISSING_PARAM"),
            ({"algorithm": 5, "auth_data": {}}, "M_BAD_JSON"),
            ({"algorithm": "", "auth_data": {}}, "M_INVALID_PARAM"),
            ({"algorithm": "x" * 300, "auth_data": {}}, "M_INVALID_PARAM"),
            ({"algorithm": ALGORITHM, "auth_data": []}, "M_BAD_JSON"),
            ({"algorithm": ALGORITHM, "auth_data": {"x": "x" * 70_000}}, "M_INVALID_PARAM"),
        ):
            self.assert_refused(self.post(VERSION, body, self.alice), 400, errcode)
        self.assert_refused(self.get(VERSION, self.alice), 404, "M_NOT_FOUND")

    def test_others_do_not_see_a_backup(self) -> None:
        self.create()
        self.put_keys(f"/{ROOM}/s", session_key())
        for other in (self.given_user("bob"), self.given_user("alice", TWO)):
            self.assert_refused(self.get(VERSION, other), 404, "M_NOT_FOUND")
            self.assert_refused(self.get(f"{KEYS}?version=1", other), 404, "M_NOT_FOUND")
            self.assert_refused(self.delete(f"{VERSION}/1", other), 404, "M_NOT_FOUND")
            self.assert_refused(self.delete(f"{KEYS}?version=1", other), 404, "M_NOT_FOUND")
        self.assertEqual(self.get_keys(f"/{ROOM}/s"), session_key())
