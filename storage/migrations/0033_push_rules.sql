-- Push rules of users who have any of their own.
CREATE TABLE push_rules (
    user_nid BIGINT PRIMARY KEY,
    -- JSON object: the user's own rules by kind, and what the user changed in the default rules.
    rules BYTEA NOT NULL,
    -- Log position of the newest change.
    position BIGINT NOT NULL
);
