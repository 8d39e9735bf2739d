"""Tests of the services of end-to-end encryption."""
