-- Events below which history is missing: at them it goes on when it is fetched.
CREATE TABLE gaps (
    -- The room's ID (a name).
    room BIGINT NOT NULL,
    -- The event of which some prev events are not here.
    event_id TEXT NOT NULL,
    PRIMARY KEY (room, event_id)
);

-- Transactions of other servers that were answered: a repeat gets the same answer and does nothing.
CREATE TABLE received_transactions (
    -- The server that sent it.
    origin TEXT NOT NULL,
    txn_id TEXT NOT NULL,
    -- JSON of the answer.
    answer BYTEA NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (origin, txn_id)
);
CREATE INDEX received_transactions_by_time ON received_transactions (at_ms);

-- Stripped state that came with an invite or a knock from another server.
CREATE TABLE stripped_states (
    -- Names: the local user, and the room.
    user_nid BIGINT NOT NULL,
    room BIGINT NOT NULL,
    -- JSON list of the stripped state events, the user's own membership last.
    entries BYTEA NOT NULL,
    -- JSON list of servers that know the room.
    servers BYTEA NOT NULL,
    PRIMARY KEY (user_nid, room)
);
