"""Tests of the endpoints with the wire format of Synapse."""
