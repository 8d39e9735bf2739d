"""Tests of the links between sites."""
