"""Rule 11 of room versions 1 and 2: redactions.

Later versions let redactions into the room and decide about them when they are applied:
``redaction.is_redaction_allowed``.
"""

from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.event import Event
from federation.room_dag.identifiers import InvalidIdentifier, domain_of
from federation.room_dag.power_levels import PowerLevels


def check_redaction(event: Event, levels: PowerLevels) -> None:
    """Raise NotAllowed unless the sender may redact, or the same server made both events."""
    # 11.1: "If the `sender`'s power level is greater than or equal to the redact level, allow."
    if levels.user_level(event.sender) >= levels.redact:
        return
    # 11.2: "If the domain of the `event_id` of the event being redacted is the same as the domain of the
    # `event_id` of the `m.room.redaction`, allow."
    if event.redacts is not None and _find_domain(event.redacts) == domain_of(event.event_id):
        return
    # 11.3: "Otherwise, reject."
    raise NotAllowed(f"{event.sender} has not the power level to redact")


def _find_domain(event_id: str) -> str | None:
    try:
        return domain_of(event_id)
    except InvalidIdentifier:
        return None
