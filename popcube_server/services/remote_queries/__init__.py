"""What this server asks others on behalf of its users: aliases, directories, spaces. Start at `remembered_answers.py`.

Nothing that another server says is passed on unread: `checked_rooms.py` takes each field that is as it should be.
"""
