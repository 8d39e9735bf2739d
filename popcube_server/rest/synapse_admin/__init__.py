"""Endpoints under `/_synapse/admin`, with Synapse's wire format, for tools made for it."""
