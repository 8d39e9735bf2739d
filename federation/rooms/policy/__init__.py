"""Policy servers: rooms of which every event is to be recommended by one server. Start with `policy_server.py`."""
