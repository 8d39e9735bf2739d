"""Measurements of the server. Nothing here is a test: nothing fails because something is slow."""
