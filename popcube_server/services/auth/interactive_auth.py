"""User-interactive authentication: before something dangerous, a client proves more than that it has a token.

Specification: client-server API, "User-Interactive Authentication API".

    no auth, or an unknown session    -> BEGUN: 401 with the flows and a session
    auth with a stage that succeeds   -> STAGES LEFT: 401 with what is completed
    auth with a stage that fails      -> 401 with the error; nothing is lost
    the last stage of some flow       -> DONE: the session ends and the operation goes on
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from popcube_server.services.auth.interactive_session import (
    Flow,
    InteractiveSession,
    InteractiveSessions,
    Operation,
)
from popcube_server.services.errors import AuthenticationNeeded, BadJson, NotFound, Refusal
from synapse_like_config.lazy_dataclasses import dataclass


class StageFailed(Refusal):
    """A stage was not passed; the client may try again in the same session."""

    def __init__(self, errcode: str, message: str) -> None:
        super().__init__(message)
        self.errcode = errcode


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a stage."""

    session: InteractiveSession
    auth: Mapping[str, Any]
    address: str


class Stage(Protocol):
    """One way to prove something."""

    type: str

    async def attempt(self, attempt: Attempt) -> None:
        """Return if it is proved, else raise `StageFailed`."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What a finished session leaves behind."""

    session_id: str
    registration_token: str | None
    proved_user_id: str
    """Whose password was given, if one was."""


class InteractiveAuth:
    """Leads clients through the stages."""

    def __init__(self, sessions: InteractiveSessions, stages: Sequence[Stage]) -> None:
        self._sessions = sessions
        self._stages = {stage.type: stage for stage in stages}

    async def confirm(
        self, operation: Operation, flows: Sequence[Flow], auth: Mapping[str, Any] | None, address: str
    ) -> Confirmed:
        """Return once the client has completed a flow. Raises `AuthenticationNeeded` until then."""
        if auth is None:
            raise self._needed(self._sessions.begin(operation, flows), flows)
        session = self._session(operation, flows, auth)
        stage_type = auth.get("type")
        # A client whose user completed a stage on the fallback page sends the session without a type.
        if stage_type is not None:
            await self._attempt(session, flows, auth, address)
        if not any(set(flow) <= set(session.completed) for flow in flows):
            raise self._needed(session, flows)
        self._sessions.end(session)
        return Confirmed(session.session_id, session.registration_token, session.proved_user_id)

    def remembered(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The request that `body` means: a client may repeat the session alone, without what it asked for."""
        auth = body.get("auth")
        if len(body) != 1 or not isinstance(auth, dict) or not isinstance(auth.get("session"), str):
            return body
        session = self._sessions.find(auth["session"])
        return body if session is None else {**session.operation.parameters, "auth": auth}

    def check_stage(self, session_id: str, stage_type: str) -> InteractiveSession:
        """The session, if it asks for this stage. Raises `NotFound` else."""
        session = self._sessions.find(session_id)
        if session is None or not any(stage_type in flow for flow in session.flows):
            raise NotFound("This session does not exist, has expired, or does not ask for this.")
        return session

    async def complete_stage(self, session_id: str, auth: Mapping[str, Any], address: str) -> None:
        """Try a stage outside of the operation, as a fallback page does. Raises `StageFailed` or `NotFound`."""
        session = self.check_stage(session_id, auth["type"])
        await self._run_stage(Attempt(session, auth, address))

    def _session(
        self, operation: Operation, flows: Sequence[Flow], auth: Mapping[str, Any]
    ) -> InteractiveSession:
        session_id = auth.get("session")
        session = self._sessions.find(session_id) if isinstance(session_id, str) else None
        if session is None or not session.accepts(operation):
            # COMPAT: many clients begin, without a session, with the stage that they know will be asked for.
            return self._sessions.begin(operation, flows)
        return session

    async def _attempt(
        self, session: InteractiveSession, flows: Sequence[Flow], auth: Mapping[str, Any], address: str
    ) -> None:
        if not isinstance(auth["type"], str):
            raise BadJson("'type' must be a string.")
        if not any(auth["type"] in flow for flow in flows):
            raise self._needed(session, flows, ("M_UNRECOGNIZED", "This stage is not asked for."))
        try:
            await self._run_stage(Attempt(session, auth, address))
        except StageFailed as failed:
            raise self._needed(session, flows, (failed.errcode, failed.message)) from failed

    async def _run_stage(self, attempt: Attempt) -> None:
        stage_type: str = attempt.auth["type"]
        if stage_type in attempt.session.completed:
            return
        await self._stages[stage_type].attempt(attempt)
        # Another request of the same session may have passed it meanwhile.
        if stage_type not in attempt.session.completed:
            attempt.session.completed.append(stage_type)

    def _needed(
        self, session: InteractiveSession, flows: Sequence[Flow], error: tuple[str, str] | None = None
    ) -> AuthenticationNeeded:
        answer: dict[str, Any] = {
            "flows": [{"stages": list(flow)} for flow in flows],
            "params": {},
            "session": session.session_id,
            "completed": list(session.completed),
        }
        if error is not None:
            answer["errcode"], answer["error"] = error
        return AuthenticationNeeded("More proof is needed.", **answer)
