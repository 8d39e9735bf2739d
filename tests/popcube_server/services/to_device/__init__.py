"""Tests of messages from device to device."""
