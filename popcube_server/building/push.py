"""Builds push rules: what the room engine asks about each event, and what users do with their rules."""

from federation.rooms.outcomes import NoPushOutcomes
from federation.rooms.outcomes import PushOutcomes as Outcomes
from popcube_server.building.core import Core
from popcube_server.services.account_data.personal_rules import PersonalRules
from popcube_server.services.push.member_rules import StoredMemberRules
from popcube_server.services.push.push_outcomes import PushOutcomes
from popcube_server.services.push.push_rules import PushRules
from storage.account_data import AccountDataRepository
from storage.push_rules import PushRulesRepository
from synapse_like_config.lazy_dataclasses import dataclass

USERS_IN_MEMORY = 20_000


@dataclass(frozen=True, slots=True)
class Push:
    """Built before the room engine."""

    outcomes: Outcomes
    rules: PushRules
    personal: PersonalRules


def build_push(core: Core) -> Push:
    repository = PushRulesRepository()
    rules = PushRules(core.database, repository, core.committer, core.log, USERS_IN_MEMORY)
    core.metrics.cache("push_rules", lambda: len(rules), lambda: rules.hits, lambda: rules.misses)
    personal = PersonalRules(core.database, AccountDataRepository(), core.log, USERS_IN_MEMORY)
    # Without push there are no unread counts either: nothing is worth notifying about.
    outcomes: Outcomes = NoPushOutcomes()
    if core.config.push.enabled:
        evaluated = PushOutcomes(
            StoredMemberRules(core.database, repository),
            core.server_name,
            core.config.popcube.memory.live_rooms,
        )
        core.log.follow(evaluated.follow)
        outcomes = evaluated
    return Push(outcomes, rules, personal)
