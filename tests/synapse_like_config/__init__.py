"""Tests, run by trial; the folders mirror the source."""
