"""Reads the rules of users who have any of their own, compiled on the database's thread."""

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

import orjson

from popcube_server.services.push.compiled_rules import CompiledRules, compile_rules
from popcube_server.services.push.rule_set import DEFAULT_RULE_SET, decode_rule_set
from storage.database import Database, Transaction
from storage.push_rules import MemberRulesRow, PushRulesRepository

logger = logging.getLogger(__name__)


class StoredMemberRules:
    """What `PushOutcomes` asks for, from the tables."""

    def __init__(self, database: Database, repository: PushRulesRepository) -> None:
        self._database = database
        self._repository = repository

    async def of_members(self, room_id: str) -> Mapping[str, CompiledRules]:
        return await self._read(lambda tx: self._repository.get_of_members(tx, room_id))

    async def of_members_among(self, room_id: str, user_ids: Collection[str]) -> Mapping[str, CompiledRules]:
        return await self._read(lambda tx: self._repository.get_of_members_among(tx, room_id, user_ids))

    async def of_users(self, user_ids: Collection[str]) -> Mapping[str, CompiledRules]:
        return await self._read(lambda tx: self._repository.get_of_users(tx, user_ids))

    async def _read(self, rows: Callable[[Transaction], list[MemberRulesRow]]) -> Mapping[str, CompiledRules]:
        return await self._database.read(lambda tx: {row.user_id: _compile(row) for row in rows(tx)})


def parse_ignored_users(content: bytes | None) -> frozenset[str]:
    """The user IDs in an `m.ignored_user_list`, which its owner may have written in any shape."""
    document: Any = {} if content is None else orjson.loads(content)
    users = document.get("ignored_users")
    return frozenset(users) if isinstance(users, dict) else frozenset()


def _compile(row: MemberRulesRow) -> CompiledRules:
    ignored = parse_ignored_users(row.ignored_users)
    if row.rules is None:
        return compile_rules(DEFAULT_RULE_SET, row.user_id, ignored)
    try:
        return compile_rules(decode_rule_set(row.rules), row.user_id, ignored)
    except (KeyError, TypeError, AttributeError, ValueError):
        # A site of a newer version may have written what this one cannot read. Everybody in the user's rooms goes on.
        logger.exception("The push rules of %s cannot be read", row.user_id)
        return compile_rules(DEFAULT_RULE_SET, row.user_id, ignored)
