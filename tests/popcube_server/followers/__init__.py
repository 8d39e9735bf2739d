"""Tests of what reacts to the log by itself."""
