"""Profiles: display names, avatars and other fields. Start at `change_profile.py`."""
