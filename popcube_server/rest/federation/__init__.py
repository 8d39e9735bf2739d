"""Endpoints that other servers call, one file per specification module."""
