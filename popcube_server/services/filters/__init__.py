"""Filters: what a client wants to get. Read `sync_filter.py` first."""
