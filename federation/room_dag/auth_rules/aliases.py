"""Rule 4 of room versions 1 to 5: a server's aliases."""

from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.event import Event
from federation.room_dag.identifiers import domain_of


def check_aliases(event: Event) -> None:
    """Raise NotAllowed unless the event is of the server that it is about."""
    # 4.1: "If event has no `state_key`, reject."
    if event.state_key is None:
        raise NotAllowed("an aliases event needs a state key")
    # 4.2: "If sender's domain doesn't matches `state_key`, reject."
    if domain_of(event.sender) != event.state_key:
        raise NotAllowed("the aliases are of another server")
