"""Tests of the room DAG."""
