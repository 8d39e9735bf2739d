"""Tests of duties that one site at a time has."""
