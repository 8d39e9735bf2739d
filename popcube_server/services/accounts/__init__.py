"""Accounts: registering, passwords, deactivating, devices, moderation. Start at `register_account.py`."""
