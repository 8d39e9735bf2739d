"""Tests of reading rooms through the client-server API."""
