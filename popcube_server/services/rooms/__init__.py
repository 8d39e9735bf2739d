"""Rooms as users deal with them: creating, joining, talking, reading."""
