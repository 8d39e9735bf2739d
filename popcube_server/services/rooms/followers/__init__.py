"""What happens in rooms by itself: each file is the work of one `DurableFollower` (see `services/followers`)."""
