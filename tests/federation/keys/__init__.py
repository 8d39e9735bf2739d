"""Tests of `federation.keys`."""
