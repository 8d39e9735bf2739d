"""The one table that gives every refusal its status and error code."""

from collections.abc import Mapping
from typing import Any

import orjson

from federation.room_dag.auth_rules.errors import NotAllowed as AuthRulesNotAllowed
from popcube_server.rest.endpoint import Answer
from popcube_server.services import errors

_TABLE: Mapping[type[errors.Refusal], tuple[int, str]] = {
    errors.NotAllowed: (403, "M_FORBIDDEN"),
    errors.NotFound: (404, "M_NOT_FOUND"),
    errors.InvalidParam: (400, "M_INVALID_PARAM"),
    errors.MissingParam: (400, "M_MISSING_PARAM"),
    errors.BadJson: (400, "M_BAD_JSON"),
    errors.NotJson: (400, "M_NOT_JSON"),
    errors.TooLarge: (413, "M_TOO_LARGE"),
    errors.Unrecognized: (404, "M_UNRECOGNIZED"),
    errors.MissingToken: (401, "M_MISSING_TOKEN"),
    errors.UnknownToken: (401, "M_UNKNOWN_TOKEN"),
    errors.UserLocked: (401, "M_USER_LOCKED"),
    errors.LimitExceeded: (429, "M_LIMIT_EXCEEDED"),
}


def error_answer(status: int, errcode: str, message: str, extra: Mapping[str, Any] | None = None) -> Answer:
    """An error in the specification's standard form."""
    headers = {}
    if status == 429 and extra and "retry_after_ms" in extra:
        headers["Retry-After"] = str(-(-int(extra["retry_after_ms"]) // 1000))
    return Answer(orjson.dumps({"errcode": errcode, "error": message, **(extra or {})}), status, headers)


def answer_for(error: Exception) -> Answer | None:
    """The answer to a refusal; None if the exception is no refusal but a fault of ours."""
    if isinstance(error, errors.WithCode):
        return error_answer(error.status, error.errcode, error.message, error.extra)
    if isinstance(error, errors.AuthenticationNeeded):
        return Answer(orjson.dumps(error.extra), 401)
    if isinstance(error, errors.Refusal):
        status, errcode = _TABLE[type(error)]
        return error_answer(status, errcode, error.message, error.extra)
    if isinstance(error, AuthRulesNotAllowed):
        return error_answer(403, "M_FORBIDDEN", str(error))
    return None
