"""Who is asking: tokens, sessions, logins, user-interactive authentication. Start at `authenticator.py`."""
