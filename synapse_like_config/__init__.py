"""The typed configuration: YAML with Synapse's key names in, frozen dataclasses out. Start reading in `load.py`."""
