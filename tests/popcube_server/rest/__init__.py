"""Tests of the endpoints, by specification module."""
