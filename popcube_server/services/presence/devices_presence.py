"""What a user's devices say about their presence, and what follows for the user: pure.

Source: client-server API, "Presence". Times are milliseconds since 1970.
"""

from dataclasses import field
from typing import Final

from synapse_like_config.lazy_dataclasses import dataclass

ONLINE: Final = "online"
UNAVAILABLE: Final = "unavailable"
OFFLINE: Final = "offline"
STATES: Final = (ONLINE, UNAVAILABLE, OFFLINE)
"""The first that any device is in is the user's."""

DEVICE_TIMEOUT_MS: Final = 75_000
"""How long a device counts after it began to sync: the usual wait of a sync, and some time to begin the next."""
IDLE_MS: Final = 5 * 60_000
"""Who did nothing for so long is unavailable."""
ACTIVE_MS: Final = 60_000
"""Who did something so recently is currently active."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What others see, but for the time of the last activity, which by itself is no news."""

    state: str
    status_msg: str | None
    currently_active: bool


@dataclass(slots=True)
class _Device:
    state: str
    until_ms: int


@dataclass(slots=True)
class DevicesPresence:
    """One user's devices that were heard of lately."""

    status_msg: str | None
    last_active_ms: int
    shown: Shown
    """What was told last."""
    devices: dict[str, _Device] = field(default_factory=dict)

    def hear(self, device_id: str, state: str, now_ms: int) -> bool:
        """A device is there, in this state. Whether that is anything new."""
        until_ms = now_ms + DEVICE_TIMEOUT_MS
        device = self.devices.get(device_id)
        if device is not None and device.state == state and device.until_ms > now_ms:
            device.until_ms = until_ms
            return False
        self.devices[device_id] = _Device(state, until_ms)
        return True

    def act(self, now_ms: int) -> None:
        """The user did something."""
        self.last_active_ms = now_ms

    def drop_silent(self, now_ms: int) -> None:
        """Forget the devices that were not heard of for too long."""
        silent = [device_id for device_id, device in self.devices.items() if device.until_ms <= now_ms]
        for device_id in silent:
            del self.devices[device_id]

    def now(self, now_ms: int) -> Shown:
        """What is to be shown at this moment."""
        states = {device.state for device in self.devices.values() if device.until_ms > now_ms}
        state = next((state for state in STATES if state in states), OFFLINE)
        quiet_ms = now_ms - self.last_active_ms
        if state == ONLINE and quiet_ms >= IDLE_MS:
            # Unavailable is who "is not reachable at this time e.g. they are idle".
            state = UNAVAILABLE
        return Shown(state, self.status_msg, state == ONLINE and quiet_ms < ACTIVE_MS)

    def next_change_ms(self, now_ms: int) -> int:
        """When there may be something else to show if nobody does anything."""
        times = [device.until_ms for device in self.devices.values()]
        times += [self.last_active_ms + ACTIVE_MS, self.last_active_ms + IDLE_MS]
        return min((time for time in times if time > now_ms), default=now_ms + DEVICE_TIMEOUT_MS)
