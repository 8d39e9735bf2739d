-- The people (and bots) of this organisation.
CREATE TABLE accounts (
    user_id TEXT NOT NULL PRIMARY KEY,
    -- argon2id, or bcrypt if it came from Synapse; NULL: nobody logs in with a password.
    password_hash TEXT,
    created_ms BIGINT NOT NULL,
    is_guest SMALLINT NOT NULL,
    -- A server administrator.
    is_admin SMALLINT NOT NULL,
    -- What an administrator said that this account is (`bot`, `support`); NULL: a person.
    user_type TEXT,
    -- The name stays taken, nobody can log in.
    is_deactivated SMALLINT NOT NULL,
    -- Deactivated with the wish that later members do not see this user's messages.
    is_erased SMALLINT NOT NULL,
    -- Shut out until unlocked; sessions live on.
    is_locked SMALLINT NOT NULL,
    -- May read, and leave, and little else.
    is_suspended SMALLINT NOT NULL,
    -- Where in the log it changed last.
    position BIGINT NOT NULL
);

-- The clients that an account is logged in with, or was.
CREATE TABLE devices (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    -- UTF-8; NULL: no name.
    display_name BYTEA,
    created_ms BIGINT NOT NULL,
    -- When, from which address and with which program it was seen last, to a few minutes; this site's own knowledge.
    last_seen_ms BIGINT,
    last_seen_address TEXT,
    -- UTF-8.
    last_seen_user_agent BYTEA,
    position BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id)
);

-- Logins. Tokens are macaroons that name a session: they are valid as long as the session and its generation are.
CREATE TABLE sessions (
    session_id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    -- How often its tokens were refreshed and the new ones used.
    generation BIGINT NOT NULL,
    -- What the tokens of this generation contain.
    nonce TEXT NOT NULL,
    -- What the tokens of the next generation contain: issued, not used yet. NULL: none issued.
    next_nonce TEXT,
    -- When it was logged out; NULL: it lives.
    ended_ms BIGINT,
    position BIGINT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id, device_id);

-- Tokens for m.login.token, each good for one login.
CREATE TABLE login_tokens (
    -- SHA-256 of the token.
    digest BYTEA NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    expires_ms BIGINT NOT NULL
);

-- Failed logins that still count against an address.
CREATE TABLE login_failures (
    -- An IPv4 address or an IPv6 network of 64 bits.
    address TEXT NOT NULL,
    -- Whose password was guessed at; empty for what cannot be a user ID.
    user_id TEXT NOT NULL,
    failures BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    PRIMARY KEY (address, user_id)
);
CREATE INDEX login_failures_by_time ON login_failures (last_ms);

-- Addresses that may not log in.
CREATE TABLE login_bans (
    address TEXT NOT NULL PRIMARY KEY,
    -- How many bans in a row: the next is longer.
    level BIGINT NOT NULL,
    until_ms BIGINT NOT NULL
);

-- Tokens that administrators give to people who may register.
CREATE TABLE registration_tokens (
    token TEXT NOT NULL PRIMARY KEY,
    -- NULL: as often as one likes.
    uses_allowed BIGINT,
    completed BIGINT NOT NULL,
    -- NULL: never.
    expires_ms BIGINT,
    position BIGINT NOT NULL
);

-- Registrations under way that took one use of a token.
CREATE TABLE registration_token_reservations (
    -- The session of user-interactive authentication.
    session_id TEXT NOT NULL PRIMARY KEY,
    token TEXT NOT NULL,
    expires_ms BIGINT NOT NULL
);
CREATE INDEX registration_token_reservations_by_token ON registration_token_reservations (token);

-- Profiles of this organisation's users.
CREATE TABLE profiles (
    user_id TEXT NOT NULL,
    field TEXT NOT NULL,
    -- JSON.
    value BYTEA NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (user_id, field)
);
