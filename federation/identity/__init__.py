"""Identity servers know users by e-mail addresses and telephone numbers: start with `identity_servers.py`."""
