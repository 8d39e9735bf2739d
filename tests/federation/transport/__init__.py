"""Tests of `federation.transport`."""
