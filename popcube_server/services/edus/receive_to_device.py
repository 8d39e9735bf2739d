"""m.direct_to_device: messages to devices of users here. Source: server-server API, "Send-to-device messaging"."""

from collections.abc import Mapping
from typing import Any, Final

from federation.room_dag.identifiers import domain_of, is_user_id
from popcube_server.services.edus.edu_content import BadEdu, get_object, get_string, get_user_of
from popcube_server.services.errors import TooLarge
from popcube_server.services.platform import Platform
from popcube_server.services.to_device.send_to_device import make_messages
from storage.committer import Committer
from storage.database import Database
from storage.device_keys import DeviceKeysRepository
from storage.remote_devices import AlreadyReceived, ForgetReceived, RecordReceived
from storage.to_device_sorting import send_on_only_site, send_on_several_sites

KEPT_MS: Final = 30 * 24 * 3600 * 1000
"""How long a server may go on sending a message that it believes was not taken."""
CLEANING_INTERVAL_S: Final = 6 * 3600.0


class ReceiveToDevice:
    def __init__(
        self,
        server_name: str,
        database: Database,
        committer: Committer,
        platform: Platform,
        is_only_site: bool,
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._committer = committer
        self._platform = platform
        self._sent = send_on_only_site if is_only_site else send_on_several_sites
        self._device_keys = DeviceKeysRepository()

    async def receive(self, origin: str, content: Mapping[str, Any]) -> None:
        """Once for each `message_id`. Devices that do not exist are passed over."""
        sender = get_user_of(origin, content, "sender")
        event_type = get_string(content, "type")
        message_id = get_string(content, "message_id")
        messages = get_object(content, "messages")
        for user_id, devices in messages.items():
            # "Users' server_names must match the recipient server"
            if not is_user_id(user_id) or domain_of(user_id) != self._server_name:
                raise BadEdu("a message is for a user of another server")
            if not isinstance(devices, dict) or not all(isinstance(one, dict) for one in devices.values()):
                raise BadEdu("messages must be objects by device ID")
        names = await self._database.read(lambda tx: self._device_keys.get_device_names(tx, list(messages)))
        try:
            found = make_messages(sender, event_type, messages, names)
        except TooLarge as error:
            raise BadEdu(error.message) from None
        if not found:
            # Nothing that could come twice: its ID is not remembered.
            return
        record = RecordReceived(origin, message_id, self._platform.now_ms())
        try:
            await self._committer.commit(record, *self._sent(found))
        except AlreadyReceived:
            # The other server did not hear that it was taken.
            return

    async def clean(self) -> None:
        """Forget the IDs of old messages."""
        await self._committer.commit(ForgetReceived(self._platform.now_ms() - KEPT_MS))
