"""Rules that would take long to ask do not match: nobody else waits for them."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.push.compiled_rules import CompiledRule, CompiledRules
from popcube_server.services.push.conditions import Me, parse_condition
from popcube_server.services.push.event_view import MAX_WORK, EventView
from storage.events import NOTIFY
from tests.popcube_server.services.push.push_case import ALICE, FakeRoom, make_event

LONG = {"body": "a " * 30_000, "other": "a" * 60_000, "list": [0] * 30_000}
ME = Me(False, False, "a")


def rules(condition: dict[str, Any], count: int) -> CompiledRules:
    """One rule that asks the same again and again."""
    return CompiledRules([CompiledRule((parse_condition(condition, ALICE),) * count, NOTIFY, b'["notify"]')])


class WorkLimitTests(SynchronousTestCase):
    def test_rule_within_the_limit_matches_and_one_beyond_it_does_not(self) -> None:
        for condition, work in (
            ({"kind": "event_match", "key": "content.body", "pattern": "a*a"}, 4 * 60_000),
            ({"kind": "event_match", "key": "content.other", "pattern": "?*a?a"}, 6 * 60_000),
            ({"kind": "event_property_contains", "key": "content.list", "value": 0}, 30_000),
            ({"kind": "contains_display_name"}, 60_000),
        ):
            view = EventView(make_event(LONG), FakeRoom())
            most = MAX_WORK // work
            self.assertIsNotNone(rules(condition, most).find(view, ME), condition)
            self.assertIsNone(rules(condition, most + 1).find(view, ME), condition)
            # The next user's rules are asked as if nothing had been.
            self.assertIsNotNone(rules(condition, 1).find(view, ME), condition)

    def test_words_that_are_not_in_the_text_cost_one_look_each(self) -> None:
        view = EventView(make_event(LONG), FakeRoom())
        word = rules({"kind": "event_match", "key": "content.body", "pattern": "w" * 200}, 1).rules[0]
        found = rules({"kind": "event_match", "key": "content.body", "pattern": "a"}, 1).rules[0]
        self.assertIs(CompiledRules([word] * 300 + [found]).find(view, ME), found)
