"""The newest messages of devices that sync: kept in memory from their arrival until the device has them."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import field

from storage.to_device import Device
from synapse_like_config.lazy_dataclasses import dataclass

Message = tuple[int, bytes]
"""Position and JSON of the event."""


@dataclass(slots=True)
class _Held:
    """All messages of a device from a position on, oldest first."""

    since: int
    messages: list[Message] = field(default_factory=list)
    size_bytes: int = 0


class HeldMessages:
    """Of so many devices, and with so many bytes, at most; what was begun longest ago goes first."""

    def __init__(self, max_devices: int, max_bytes: int) -> None:
        self._max_devices = max_devices
        self._max_bytes = max_bytes
        self._devices: OrderedDict[Device, _Held] = OrderedDict()
        self._size_bytes = 0

    def begin(self, device: Device, since: int) -> None:
        """Hold what comes for a device, beginning at a position."""
        self.drop(device)
        self._devices[device] = _Held(since)
        if len(self._devices) > self._max_devices:
            self.drop(next(iter(self._devices)))

    def has(self, device: Device) -> bool:
        """Whether it was begun."""
        return device in self._devices

    def add(self, devices: Iterable[Device], position: int, event: bytes) -> None:
        """A message for devices; those that were not begun are passed over."""
        size_bytes = len(event)
        message = (position, event)
        for device in devices:
            held = self._devices.get(device)
            if held is not None:
                held.messages.append(message)
                held.size_bytes += size_bytes
                self._size_bytes += size_bytes
        while self._size_bytes > self._max_bytes:
            self.drop(next(iter(self._devices)))

    def find(self, device: Device, since: int) -> Sequence[Message] | None:
        """A device's messages, among them all from a position on; None if some of them may not be here."""
        held = self._devices.get(device)
        return None if held is None or held.since > since else held.messages

    def forget(self, device: Device, upto: int) -> None:
        """A device has its messages up to a position."""
        held = self._devices.get(device)
        if held is None or not held.messages:
            return
        rest = [message for message in held.messages if message[0] > upto]
        size_bytes = sum(len(event) for _, event in rest)
        self._size_bytes += size_bytes - held.size_bytes
        held.messages, held.size_bytes = rest, size_bytes

    def drop(self, device: Device) -> None:
        """Hold nothing of a device any more."""
        held = self._devices.pop(device, None)
        if held is not None:
            self._size_bytes -= held.size_bytes
