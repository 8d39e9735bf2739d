"""The room engine: live rooms in memory over the stored ones, and the verbs that append to them.

Start with `room_state.py` (what a room's state is), then `live_room.py` and `send_event.py`.
"""
