-- Events of threads: what is unread is counted by thread, and most events are in none.
CREATE INDEX events_in_threads ON events (room, ordering, thread) WHERE thread IS NOT NULL;

-- Events that highlight for everybody: few among many.
CREATE INDEX events_highlighting ON events (room, ordering) WHERE push >= 2;
