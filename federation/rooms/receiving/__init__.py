"""What comes from other servers, checked before it is believed: start with `receive_pdu.py`."""
