"""Tests of what other servers call."""
