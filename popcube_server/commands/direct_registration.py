"""Create an account in the database of a server that is not running."""

import secrets
import time
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from popcube_server.app import make_signer
from popcube_server.building.accounts import build_accounts
from popcube_server.commands.wanted_account import WantedAccount
from popcube_server.organisation import Threads, build_core
from popcube_server.services.accounts.register_account import NewAccount
from popcube_server.services.platform import Platform
from storage.engines.choose import choose_engine
from synapse_like_config.config import ServerConfig

T = TypeVar("T")


def register_directly(config: ServerConfig, wanted: WantedAccount) -> str:
    """The new user's ID. Raises `Refusal` or `StorageError`."""
    clock: Any = Clock()
    clock.advance(time.time())
    platform = Platform(clock, secrets.token_bytes, _at_once)
    threads = Threads(_at_once, _at_once)
    engine = choose_engine(config.database)
    core = build_core(config, make_signer(config), engine, platform, threads, lambda number: None)
    register_account = build_accounts(core).register_account

    async def register() -> str:
        user_id = register_account.check_possible(wanted.name)
        await register_account.register(
            NewAccount(user_id, wanted.password, wanted.display_name, is_admin=wanted.is_admin)
        )
        return user_id

    try:
        return _result(Deferred.fromCoroutine(register()))
    finally:
        core.database.close()


def _at_once(function: Callable[[], T]) -> "Deferred[T]":
    return execute(function)


def _result(deferred: "Deferred[T]") -> T:
    """What is there already, as nothing here waits for anything."""
    outcome: list[Any] = []
    deferred.addBoth(outcome.append)
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    result: T = outcome[0]
    return result
