"""Messages from device to device: `send_to_device` takes them in, `inbox` gives them to /sync."""
