"""Tests of EDUs, of keys of other servers' users, and of what others may ask."""
