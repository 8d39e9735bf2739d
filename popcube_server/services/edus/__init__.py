"""What other servers tell in passing, and what is asked of them about their users. Start in `receive_edus.py`."""
