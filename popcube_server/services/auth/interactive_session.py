"""Sessions of user-interactive authentication: what was confirmed so far, in memory, for a while, not too many."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

import orjson

from synapse_like_config.lazy_dataclasses import dataclass

MAX_SESSIONS = 10_000
LIFETIME_MS = 30 * 60 * 1000
MAX_PARAMETERS_BYTES = 2048

Flow = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """What is to be confirmed."""

    name: str
    """The endpoint."""
    user_id: str
    """Who asks; empty for strangers."""
    subject: str
    """What a confirmation must not be carried over to another of; empty if the request did not say yet."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The request without `auth`, remembered for a client that repeats it with the session alone."""


@dataclass(slots=True)
class InteractiveSession:
    """One confirmation under way."""

    session_id: str
    operation: Operation
    expires_ms: int
    flows: tuple[Flow, ...]
    completed: list[str] = field(default_factory=list)
    proved_user_id: str = ""
    """Whose password was given; empty before."""
    registration_token: str | None = None
    """The token whose use this session reserved."""

    def accepts(self, operation: Operation) -> bool:
        """Whether this session is for that operation; one that had no subject takes the first that comes."""
        mine = self.operation
        if (mine.name, mine.user_id) != (operation.name, operation.user_id):
            return False
        if not mine.subject:
            if operation.subject:
                self.operation = operation
            return True
        return mine.subject == operation.subject


class InteractiveSessions:
    """The sessions of one process; a restart forgets them, and clients begin again.

    If there are too many, the oldest goes: a stranger cannot fill the memory.
    """

    def __init__(self, new_id: Callable[[], str], now_ms: Callable[[], int]) -> None:
        self._new_id = new_id
        self._now_ms = now_ms
        self._sessions: OrderedDict[str, InteractiveSession] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, operation: Operation, flows: Sequence[Flow]) -> InteractiveSession:
        self._drop_expired()
        if len(self._sessions) >= MAX_SESSIONS:
            self._sessions.popitem(last=False)
        if len(orjson.dumps(operation.parameters)) > MAX_PARAMETERS_BYTES:
            operation = replace(operation, parameters={})
        session = InteractiveSession(self._new_id(), operation, self._now_ms() + LIFETIME_MS, tuple(flows))
        self._sessions[session.session_id] = session
        return session

    def find(self, session_id: str) -> InteractiveSession | None:
        session = self._sessions.get(session_id)
        return None if session is None or session.expires_ms <= self._now_ms() else session

    def end(self, session: InteractiveSession) -> None:
        self._sessions.pop(session.session_id, None)

    def _drop_expired(self) -> None:
        # All live equally long, so the oldest is the first to expire.
        while self._sessions:
            oldest = next(iter(self._sessions.values()))
            if oldest.expires_ms > self._now_ms():
                return
            self._sessions.popitem(last=False)
