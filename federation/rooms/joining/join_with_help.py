"""Join a restricted room that this server is in, but where none of its users may let somebody in: another server does.

Source: server-server API, "Restricted rooms"; client-server API, "Restricted rooms".
"""

from collections.abc import Mapping, Sequence
from typing import Any

from federation.room_dag.event import decode_pdu
from federation.rooms.accept_event import MissingEvents, Verdict
from federation.rooms.joining.handshake import Handshake, Wanted, first_that_helps
from federation.rooms.joining.signed_join import take_signed
from federation.rooms.live_rooms import UnknownRoom
from federation.rooms.receiving.check_pdu import CheckPdus
from federation.rooms.receiving.fetch_missing import StateUnavailable
from federation.rooms.receiving.receive_pdu import ReceivePdu
from federation.rooms.receiving.remote import V2, RemoteServers
from federation.transport.errors import InvalidAnswer
from federation.transport.federation_client import api_path


class JoinWithHelp:
    """The handshake of any join; the room's state is here already, so that only the event is taken from the answer."""

    def __init__(
        self,
        servers: RemoteServers,
        handshake: Handshake,
        check: CheckPdus,
        receive_pdu: ReceivePdu,
        server_name: str,
    ) -> None:
        self._servers = servers
        self._handshake = handshake
        self._check = check
        self._receive_pdu = receive_pdu
        self._server_name = server_name

    async def join(
        self, room_id: str, user_id: str, content: Mapping[str, Any], servers: Sequence[str]
    ) -> None:
        """Raises `NoServerHelped`, `CommitFailed`."""
        wanted = Wanted(room_id, user_id, "join", content)
        await first_that_helps(
            servers, self._server_name, lambda destination: self._through(destination, wanted)
        )

    async def _through(self, destination: str, wanted: Wanted) -> None:
        event = await self._handshake.make(destination, wanted)
        path = api_path(V2 + "send_join", wanted.room_id, event.event_id)
        answer = await self._servers.put(destination, path, decode_pdu(event), {"omit_members": "true"})
        # Who let us in does not send us the event a second time.
        signed = await take_signed(self._check, destination, event, answer.get("event"))
        try:
            verdict = await self._receive_pdu.receive(destination, signed)
        except (MissingEvents, StateUnavailable, UnknownRoom) as error:
            raise InvalidAnswer(destination, f"the join cannot be placed: {error}") from None
        if verdict not in (Verdict.ACCEPTED, Verdict.KNOWN):
            raise InvalidAnswer(destination, "the join is not allowed in the room as it is here")
