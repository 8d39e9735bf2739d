"""What reacts to the log by itself. Start with `durable_follower.py`."""
