"""The one ambient value: which request a piece of work belongs to, for log lines."""

from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="-")
