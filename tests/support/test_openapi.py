"""The judge of requests and answers that other tests rely on."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.openapi import SpecificationViolation, specification

CLIENT = "/_matrix/client/v3"
PRESENCE = CLIENT + "/presence/@alice:one.example/status"


class OperationTests(SynchronousTestCase):
    def found(self, method: str, url_path: str, body: Any = None) -> str | None:
        operation = specification().find_operation(method, url_path, body=body)
        return operation.operation_id if operation is not None else None

    def test_every_row_of_the_table_is_found_by_its_own_path(self) -> None:
        seen = {
            self.found(operation.method, operation.path)
            for operation in specification().operations()
            if operation.operation_id not in {"peekEvents", "inviteBy3PID"}
        }
        self.assertEqual(len(specification().operations()), 212)
        ids = {operation.operation_id for operation in specification().operations()}
        self.assertEqual(ids - seen, {"peekEvents", "inviteBy3PID"})

    def test_r0_is_v3(self) -> None:
        self.assertEqual(self.found("GET", "/_matrix/client/r0/sync?timeout=0"), "sync")
        self.assertEqual(self.found("POST", "/_matrix/media/r0/upload"), "uploadContent")

    def test_literal_path_goes_before_a_parameter(self) -> None:
        self.assertEqual(self.found("GET", CLIENT + "/pushrules/global/"), "getPushRulesGlobal")
        self.assertEqual(self.found("GET", CLIENT + "/pushrules/"), "getPushRules")

    def test_state_key_may_be_empty(self) -> None:
        self.assertEqual(self.found("PUT", CLIENT + "/rooms/!r/state/m.room.name/"), "setRoomStateWithKey")

    def test_paths_that_are_there_twice_are_told_apart(self) -> None:
        self.assertEqual(self.found("GET", CLIENT + "/events?from=a"), "getEvents")
        self.assertEqual(self.found("GET", CLIENT + "/events?room_id=!r"), "peekEvents")
        self.assertEqual(self.found("POST", CLIENT + "/rooms/!r/invite", {"user_id": "@a:b"}), "inviteUser")
        by_address = {"id_server": "x", "medium": "email", "address": "a@b"}
        self.assertEqual(self.found("POST", CLIENT + "/rooms/!r/invite", by_address), "inviteBy3PID")

    def test_unknown_path_is_not_found(self) -> None:
        self.assertIsNone(self.found("GET", CLIENT + "/no_such_thing"))
        self.assertIsNone(self.found("DELETE", CLIENT + "/sync"))


class ValidationTests(SynchronousTestCase):
    def test_every_example_of_the_specification_is_valid(self) -> None:
        examples = list(specification().response_examples())
        for operation, status, body in examples:
            specification().validate_operation_response(operation, status, body)
        self.assertGreater(len(examples), 300)

    def test_wrong_answer_is_refused_with_its_place(self) -> None:
        rooms = {"join": {"!r:one.example": {"timeline": {"events": [{"type": 5}]}}}}
        error = self.refused("GET", CLIENT + "/sync", 200, {"next_batch": "s1", "rooms": rooms})
        self.assertIn("(sync) answered 200", str(error))
        self.assertIn("$.rooms.join['!r:one.example'].timeline.events[0].type: 5 is not of type", str(error))

    def test_missing_key_is_named(self) -> None:
        self.assertIn(
            "'next_batch' is a required property", str(self.refused("GET", CLIENT + "/sync", 200, {}))
        )

    def test_status_that_is_not_listed_is_refused(self) -> None:
        self.refused("GET", PRESENCE, 201, {"presence": "online"})
        specification().validate_response("GET", PRESENCE, 200, {"presence": "online"})

    def test_any_operation_may_answer_a_standard_error(self) -> None:
        error = {"errcode": "M_UNKNOWN_TOKEN", "error": "No such token."}
        specification().validate_response("GET", PRESENCE, 401, error)
        self.refused("GET", PRESENCE, 401, {"error": "No such token."})

    def test_json_under_another_content_type_is_refused(self) -> None:
        body = {"presence": "online"}
        self.refused("GET", PRESENCE, 200, body, "text/html")
        specification().validate_response("GET", PRESENCE, 200, body, "application/json; charset=utf-8")

    def test_media_may_have_any_content_type(self) -> None:
        path = "/_matrix/client/v1/media/download/one.example/abc"
        specification().validate_response("GET", path, 200, None, "image/png")

    def test_alternatives_that_overlap_are_no_error(self) -> None:
        # `oneOf` in the data: a member event fits both alternatives.
        path = CLIENT + "/rooms/!r:one.example/state/m.room.name/"
        event = {
            "type": "m.room.name",
            "state_key": "",
            "event_id": "$e",
            "sender": "@a:one.example",
            "origin_server_ts": 1,
            "room_id": "!r:one.example",
            "content": {"name": "x"},
        }
        specification().validate_response("GET", path, 200, event)

    def test_wrong_request_is_refused(self) -> None:
        specification().validate_request("POST", CLIENT + "/createRoom", {"preset": "private_chat"})
        with self.assertRaises(SpecificationViolation):
            specification().validate_request("POST", CLIENT + "/createRoom", {"preset": "dungeon"})

    def refused(
        self, method: str, url_path: str, status: int, body: Any, content_type: str = "application/json"
    ) -> SpecificationViolation:
        with self.assertRaises(SpecificationViolation) as raised:
            specification().validate_response(method, url_path, status, body, content_type)
        return raised.exception
