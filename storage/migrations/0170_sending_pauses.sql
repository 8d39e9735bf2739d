-- When a server that refuses what it is sent is tried again (one that does not answer has its pause in `destinations`):
-- milliseconds since 1970, 0 for at once.
ALTER TABLE federation_lagging ADD COLUMN retry_at BIGINT NOT NULL DEFAULT 0;

-- How long the present pause is, in milliseconds; the next one is a multiple. 0 if it refused nothing.
ALTER TABLE federation_lagging ADD COLUMN pause BIGINT NOT NULL DEFAULT 0;

-- How often the latest event of the room was refused when it was sent by itself: others come first.
ALTER TABLE federation_behind ADD COLUMN refused BIGINT NOT NULL DEFAULT 0;

-- A server that is back is told of the receipts that changed meanwhile, newest first.
CREATE INDEX receipts_by_position ON receipts (position);
