"""Users' push rules: read, and changed one at a time without losing a change that another client makes meanwhile."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from popcube_server.services.bounded_cache import BoundedCache
from popcube_server.services.errors import TooLarge
from popcube_server.services.push.rule_set import (
    DEFAULT_RULE_SET,
    RuleSet,
    decode_rule_set,
    encode_rule_set,
)
from storage.change import Conflict, LogEntry
from storage.committer import Committer
from storage.database import Database
from storage.log import Log
from storage.push_rules import PushRulesRepository, SetPushRules
from synapse_like_config.lazy_dataclasses import dataclass

MAX_TRIES: Final = 10
MAX_BYTES: Final = 512 * 1024
"""A user's rules are written, and compiled, as a whole with each change."""


@dataclass(frozen=True, slots=True)
class KnownRules:
    """A user's rules and the log position at which they became so; 0 if they never changed."""

    rule_set: RuleSet
    position: int


class PushRules:
    """Owns the rules in memory, kept true by following the log."""

    def __init__(
        self, database: Database, repository: PushRulesRepository, committer: Committer, log: Log, size: int
    ) -> None:
        self._database = database
        self._repository = repository
        self._committer = committer
        self._known: BoundedCache[str, KnownRules] = BoundedCache(size)
        self._log = log
        log.follow(self._follow)

    def __len__(self) -> int:
        return len(self._known)

    @property
    def hits(self) -> int:
        return self._known.hits

    @property
    def misses(self) -> int:
        return self._known.misses

    async def get(self, user_id: str) -> KnownRules:
        """The user's rules as they are now."""
        known = self._known.get(user_id)
        if known is not None:
            return known
        position = self._log.position
        row = await self._database.read(lambda tx: self._repository.find(tx, user_id))
        known = (
            KnownRules(DEFAULT_RULE_SET, 0)
            if row is None
            else KnownRules(decode_rule_set(row.rules), row.position)
        )
        if self._log.position == position:
            self._known.put(user_id, known)
        return known

    async def content(self, user_id: str) -> dict[str, Any]:
        """The content of `m.push_rules`."""
        return rules_content((await self.get(user_id)).rule_set, user_id)

    async def change(self, user_id: str, how: Callable[[RuleSet], RuleSet]) -> None:
        """Set the rules to what `how` makes of the present ones; it may be asked again.

        Raises what `how` raises, and `TooLarge`.
        """
        for _ in range(MAX_TRIES):
            known = await self.get(user_id)
            changed = how(known.rule_set)
            if changed == known.rule_set:
                return
            encoded = encode_rule_set(changed)
            if len(encoded) > MAX_BYTES:
                raise TooLarge(f"All push rules together may have at most {MAX_BYTES} bytes.")
            try:
                await self._committer.commit(SetPushRules(user_id, encoded, known.position))
            except Conflict:
                # Another client was quicker: its rules are what is to be changed now.
                self._known.drop(user_id)
                continue
            return
        raise Conflict("the push rules change too often")

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.kind == "push_rules":
                self._known.drop(entry.key[0])


def rules_content(rule_set: RuleSet, user_id: str) -> dict[str, Any]:
    """The content of `m.push_rules` for these rules."""
    return {"global": rule_set.as_json(user_id)}
