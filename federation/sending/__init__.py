"""Sending to other servers: one queue per destination over the log. Start reading in `sender.py`."""
