"""Tests of what sites tell each other."""
