"""Appending to rooms for users: the engine's refusals in the words of the services, and the limits on how often."""

from federation.room_dag.event import EventTooLarge, InvalidEvent
from federation.rooms.draft import Draft, TransactionKey
from federation.rooms.live_rooms import UnknownRoom
from federation.rooms.policy.ask_policy_server import NotRecommended, PolicyServerAway
from federation.rooms.policy.send_recommended import SendRecommended
from federation.rooms.send_event import Sent
from popcube_server.services.errors import BadJson, NotAllowed, TooLarge
from popcube_server.services.rooms.policy_refusal import policy_refusal
from storage.change import Change


class RoomWriter:
    """What the verbs of this folder write with."""

    def __init__(self, send_event: SendRecommended) -> None:
        self._send_event = send_event

    async def append(self, draft: Draft, transaction: TransactionKey | None = None, *others: Change) -> Sent:
        """Append an event. Raises refusals, and `auth_rules.errors.NotAllowed` where the room's rules say no."""
        try:
            return await self._send_event.send(draft, transaction, *others)
        except UnknownRoom:
            # Not a word about whether the room exists.
            raise NotAllowed("You are not in this room.") from None
        except (NotRecommended, PolicyServerAway) as error:
            raise policy_refusal(error) from None
        except EventTooLarge as error:
            raise TooLarge(str(error)) from None
        except InvalidEvent as error:
            raise BadJson(str(error)) from None
