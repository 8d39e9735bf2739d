"""How many times less processor time than Synapse's an operation is meant to take, on either database."""

EVERYTHING_ELSE = 3.0
# By how the titles of the rows begin: they end with sizes.
GOALS = (
    ("start to first answer", 3.0),
    ("register", 6.0),
    ("log in", 4.0),
    ("create a room", 10.0),
    ("send, 8 clients in 8 rooms", 15.0),
    ("send, 20 clients in one room", 12.0),
    ("fan-out", 12.0),
    ("first sync, cold", 15.0),
    ("first sync", 20.0),
    ("incremental sync, nothing new", 5.0),
    ("incremental sync, one message", 8.0),
    ("join a room of 500", 10.0),
    ("members", 5.0),
    ("page back", 6.0),
    ("keys", 5.0),
    ("to-device", 6.0),
    ("message to another server", 8.0),
    ("messages of 8 clients in 8 rooms to another server", 8.0),
)


def find_goal(row: str) -> float:
    """Times less than Synapse."""
    return next((times for beginning, times in GOALS if row.startswith(beginning)), EVERYTHING_ELSE)
