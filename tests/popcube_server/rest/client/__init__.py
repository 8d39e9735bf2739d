"""Tests of the client-server API."""
