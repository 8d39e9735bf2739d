"""What clients hear of: long-polls, and what changed for a user between two positions of the log.

Start with `sync.py` (one request), then `changes.py` (what concerns the user) and `joined_rooms.py` (a room's part).
"""
