"""Tests of the content repository's services."""
