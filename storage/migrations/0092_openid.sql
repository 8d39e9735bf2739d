-- Tokens by which users prove to a third party who they are.
CREATE TABLE openid_tokens (
    -- SHA-256 of the token.
    digest BYTEA NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    -- In milliseconds since 1970.
    expires_at_ms BIGINT NOT NULL
);

CREATE INDEX openid_tokens_expires ON openid_tokens (expires_at_ms);
