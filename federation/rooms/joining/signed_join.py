"""The join event as it comes back from send_join, with the signatures of other servers."""

from typing import Any

from federation.room_dag.event import Event, InvalidEvent
from federation.room_dag.signing import InvalidSignature
from federation.rooms.receiving.check_pdu import CheckPdus
from federation.transport.errors import InvalidAnswer


async def take_signed(check: CheckPdus, destination: str, event: Event, pdu: Any) -> Event:
    """Our event, with the signatures that it got: of who authorised a restricted join, of the policy server.

    `pdu` is what the answer has as `event`. Raises `InvalidAnswer`.
    """
    needs_signature = "join_authorised_via_users_server" in event.content and event.rules.restricted_joins
    try:
        signed = await check.check(pdu, event.rules, event.room_id)
        if signed.event_id == event.event_id and signed.content == event.content:
            return signed
        problem = "another event than ours came back"
    except (InvalidEvent, InvalidSignature) as error:
        problem = f"the join came back unusable: {error}"
    if needs_signature:
        raise InvalidAnswer(destination, problem)
    return event
