"""Servers' signing keys: our own, those of others, and the signatures on events.

Start with `key_ring.py`, which everybody who checks a signature asks; `verify_events.py` does it for events.
"""
