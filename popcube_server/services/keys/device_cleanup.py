"""What goes with a device."""

from collections.abc import Iterable, Sequence

from storage.change import Change
from storage.device_keys import RemoveDeviceKeys
from storage.device_lists import DeviceListChanged
from storage.to_device import RemoveToDeviceMessages


class DeviceCleanup:
    """Gives the changes to commit together with the deletion of devices."""

    def changes_for(self, user_id: str, device_ids: Iterable[str]) -> Sequence[Change]:
        """Identity keys, one-time and fallback keys and waiting messages go; others learn that the devices changed."""
        devices = tuple(device_ids)
        if not devices:
            return ()
        return (
            RemoveDeviceKeys(user_id, devices),
            RemoveToDeviceMessages(user_id, devices),
            DeviceListChanged(user_id),
        )
