"""Tests of push rules and unread counts."""
