"""Finding people. `index_users.py` keeps the index, `search_users.py` asks it."""
