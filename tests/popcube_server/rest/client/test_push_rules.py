"""Push rules over HTTP: their order, what may be changed, and that clients are told."""

from typing import Any
from urllib.parse import quote

from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase
from tests.popcube_server.server_case import TWO

RULES = "/_matrix/client/v3/pushrules/"
NOTIFY = {"actions": ["notify"]}


def rule(kind: str, rule_id: str, tail: str = "") -> str:
    return f"{RULES}global/{kind}/{quote(rule_id, safe='')}{tail}"


class PushRulesTests(WitnessedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")

    def ids(self, kind: str) -> list[str]:
        rules = self.ok(self.get(RULES + "global/", self.alice))[kind]
        return [each["rule_id"] for each in rules]

    def own_ids(self, kind: str) -> list[str]:
        return [rule_id for rule_id in self.ids(kind) if not rule_id.startswith(".")]

    def content_rule(self, rule_id: str, query: str = "") -> tuple[int, Any]:
        return self.put(rule("content", rule_id) + query, {**NOTIFY, "pattern": "cake"}, self.alice)

    def sync(self, since: str | None = None) -> Any:
        path = "/_matrix/client/v3/sync?timeout=0" + ("" if since is None else f"&since={since}")
        return self.ok(self.get(path, self.alice))

    def test_all_rules_together_are_not_too_large(self) -> None:
        body = {**NOTIFY, "conditions": [{"kind": "event_match", "key": "type", "pattern": "x" * 16_000}]}
        for number in range(32):
            self.ok(self.put(rule("override", f"r{number}"), body, self.alice))
        answer = self.put(rule("override", "r32"), body, self.alice)
        self.assert_refused(answer, 413, "M_TOO_LARGE")
        self.ok(self.delete(rule("override", "r0"), self.alice))
        self.ok(self.put(rule("override", "r32"), body, self.alice))

    def test_default_rules_are_those_of_the_specification(self) -> None:
        whole = self.ok(self.get(RULES, self.alice))["global"]
        self.assertEqual(set(whole), {"override", "content", "room", "sender", "underride"})
        self.assertEqual(
            [each["rule_id"] for each in whole["override"]],
            [
                ".m.rule.master",
                ".m.rule.suppress_notices",
                ".m.rule.invite_for_me",
                ".m.rule.member_event",
                ".m.rule.is_user_mention",
                ".m.rule.is_room_mention",
                ".m.rule.tombstone",
                ".m.rule.reaction",
                ".m.rule.room.server_acl",
                ".m.rule.suppress_edits",
            ],
        )
        self.assertEqual(self.ok(self.get(rule("override", ".m.rule.master"), self.alice))["enabled"], False)
        mention = self.ok(self.get(rule("override", ".m.rule.is_user_mention"), self.alice))
        self.assertEqual(mention["conditions"][0]["value"], self.alice.user_id)
        self.assertEqual(self.get(RULES[:-1], self.alice), self.get(RULES, self.alice))

    def test_new_rules_are_the_most_important_of_their_kind(self) -> None:
        for rule_id in ("a", "b", "c"):
            self.assertEqual(self.ok(self.content_rule(rule_id)), {})
        self.assertEqual(self.own_ids("content"), ["c", "b", "a"])
        # Changed, a rule stays where it is.
        self.ok(self.content_rule("a"))
        self.assertEqual(self.own_ids("content"), ["c", "b", "a"])

    def test_rules_are_placed_by_others(self) -> None:
        for rule_id in ("a", "b"):
            self.ok(self.content_rule(rule_id))
        self.ok(self.content_rule("before-a", "?before=a"))
        self.ok(self.content_rule("after-b", "?after=b"))
        self.assertEqual(self.own_ids("content"), ["b", "after-b", "before-a", "a"])
        self.ok(self.content_rule("both", "?before=a&after=b"))
        self.assertEqual(self.own_ids("content"), ["b", "after-b", "before-a", "both", "a"])
        self.ok(self.content_rule("a", "?before=b"))
        self.assertEqual(self.own_ids("content"), ["a", "b", "after-b", "before-a", "both"])
        self.assert_refused(self.content_rule("x", "?before=nothing"), 400, "M_UNKNOWN")
        self.assert_refused(self.content_rule("x", "?after=.m.rule.message"), 400, "M_UNKNOWN")
        self.assertNotIn("x", self.own_ids("content"))

    def test_own_rules_come_before_default_ones_but_for_the_master(self) -> None:
        self.ok(self.put(rule("override", "mine"), {**NOTIFY, "conditions": []}, self.alice))
        self.ok(self.put(rule("underride", "mine"), NOTIFY, self.alice))
        self.assertEqual(self.ids("override")[:3], [".m.rule.master", "mine", ".m.rule.suppress_notices"])
        self.assertEqual(self.ids("underride")[:2], ["mine", ".m.rule.call"])

    def test_rule_is_read_as_it_was_set(self) -> None:
        conditions = [{"kind": "org.example.unknown", "x": 1}, {"kind": "room_member_count", "is": "2"}]
        actions = ["notify", {"set_tweak": "sound", "value": "bing"}]
        path = rule("override", "mine")
        self.ok(self.put(path, {"actions": actions, "conditions": conditions}, self.alice))
        expected = {
            "rule_id": "mine",
            "default": False,
            "enabled": True,
            "actions": actions,
            "conditions": conditions,
        }
        self.assertEqual(self.ok(self.get(path, self.alice)), expected)
        self.restart()
        self.assertEqual(self.ok(self.get(path, self.alice)), expected)
        self.assertEqual(self.ok(self.delete(path, self.alice)), {})
        self.assert_refused(self.get(path, self.alice), 404, "M_NOT_FOUND")
        self.assert_refused(self.delete(path, self.alice), 404, "M_NOT_FOUND")

    def test_historical_actions_are_stripped(self) -> None:
        self.ok(self.put(rule("room", "!a:x"), {"actions": ["dont_notify", "coalesce"]}, self.alice))
        self.assertEqual(self.ok(self.get(rule("room", "!a:x", "/actions"), self.alice)), {"actions": []})

    def test_rules_are_switched_on_and_off(self) -> None:
        self.ok(self.put(rule("sender", "@b:x"), NOTIFY, self.alice))
        for kind, rule_id in (("sender", "@b:x"), ("override", ".m.rule.reaction")):
            path = rule(kind, rule_id, "/enabled")
            self.assertEqual(self.ok(self.get(path, self.alice)), {"enabled": True})
            self.ok(self.put(path, {"enabled": False}, self.alice))
            self.assertEqual(self.ok(self.get(path, self.alice)), {"enabled": False})
        # A changed rule stays switched off.
        self.ok(self.put(rule("sender", "@b:x"), {"actions": []}, self.alice))
        self.assertEqual(
            self.ok(self.get(rule("sender", "@b:x", "/enabled"), self.alice)), {"enabled": False}
        )

    def test_actions_of_default_rules_are_changed(self) -> None:
        path = rule("underride", ".m.rule.message", "/actions")
        self.ok(self.put(path, {"actions": []}, self.alice))
        self.assertEqual(self.ok(self.get(path, self.alice)), {"actions": []})
        self.ok(self.put(path, {"actions": ["notify"]}, self.alice))
        self.assertEqual(self.ok(self.get(path, self.alice)), {"actions": ["notify"]})

    def test_unknown_rules_are_not_found(self) -> None:
        for kind, rule_id in (("content", "x"), ("override", ".m.rule.message"), ("underride", ".x")):
            for tail, body in (("/enabled", {"enabled": True}), ("/actions", {"actions": []})):
                self.assert_refused(self.get(rule(kind, rule_id, tail), self.alice), 404, "M_NOT_FOUND")
                self.assert_refused(self.put(rule(kind, rule_id, tail), body, self.alice), 404, "M_NOT_FOUND")
        self.assert_refused(self.delete(rule("override", ".m.rule.master"), self.alice), 404, "M_NOT_FOUND")

    def test_wrong_rules_are_refused(self) -> None:
        pattern = {"actions": ["notify"], "pattern": "x"}
        for kind, rule_id, body, errcode in (
            ("content", ".x", pattern, "M_INVALID_PARAM"),
            ("content", "a/b", pattern, "M_INVALID_PARAM"),
            ("content", "a\\b", pattern, "M_INVALID_PARAM"),
            ("content", "x" * 256, pattern, "M_INVALID_PARAM"),
            ("nonsense", "x", pattern, "M_INVALID_PARAM"),
            ("content", "x", NOTIFY, "M_MISSING_PARAM"),
            ("content", "x", {**NOTIFY, "pattern": 5}, "M_BAD_JSON"),
            ("room", "!x:y", {}, "M_MISSING_PARAM"),
            ("room", "!x:y", {"actions": "notify"}, "M_BAD_JSON"),
            ("room", "!x:y", {"actions": [5]}, "M_BAD_JSON"),
            ("room", "!x:y", {"actions": ["shout"]}, "M_INVALID_PARAM"),
            ("room", "!x:y", {"actions": [{"value": 1}]}, "M_INVALID_PARAM"),
            ("override", "x", {**NOTIFY, "conditions": {}}, "M_BAD_JSON"),
            ("override", "x", {**NOTIFY, "conditions": [{"key": "x"}]}, "M_BAD_JSON"),
            ("override", "x", {**NOTIFY, "conditions": [{"kind": "x"}] * 51}, "M_INVALID_PARAM"),
        ):
            with self.subTest(rule_id=rule_id, body=body):
                self.assert_refused(self.put(rule(kind, rule_id), body, self.alice), 400, errcode)
        too_large = {**pattern, "pattern": "x" * 20_000}
        self.assert_refused(self.put(rule("content", "x"), too_large, self.alice), 413, "M_TOO_LARGE")
        enabled = rule("override", ".m.rule.master", "/enabled")
        self.assert_refused(self.put(enabled, {}, self.alice), 400, "M_MISSING_PARAM")
        self.assert_refused(self.put(enabled, {"enabled": "yes"}, self.alice), 400, "M_BAD_JSON")
        for kind in ("override", "content", "room", "sender", "underride"):
            self.assertEqual(self.own_ids(kind), [])

    def test_clients_are_told_of_changes(self) -> None:
        first = self.sync()
        events = {event["type"]: event["content"] for event in first["account_data"]["events"]}
        self.assertEqual(events["m.push_rules"], self.ok(self.get(RULES, self.alice)))
        self.ok(self.content_rule("cake"))
        answer = self.sync(first["next_batch"])
        (event,) = answer["account_data"]["events"]
        self.assertEqual(event["content"]["global"]["content"][0]["rule_id"], "cake")
        # What changes nothing is no news.
        self.ok(self.content_rule("cake"))
        self.assertNotIn("account_data", self.sync(answer["next_batch"]))

    def test_rules_of_one_organisation_are_unknown_to_the_other(self) -> None:
        twin = self.given_user("alice", TWO)
        self.ok(self.content_rule("cake"))
        self.assert_refused(self.get(rule("content", "cake"), twin), 404, "M_NOT_FOUND")
        self.assertEqual(self.own_ids("content"), ["cake"])
