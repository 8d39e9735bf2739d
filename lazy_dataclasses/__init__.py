"""Dataclasses that cost little until they are used: read `decorator.py`."""
