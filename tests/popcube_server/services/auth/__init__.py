"""Tests of who is asking: tokens, logins, confirmations."""
