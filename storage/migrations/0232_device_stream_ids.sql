-- The `stream_id` that others were told: the position, and above it the number of the lease under which the site sent
-- that told it. No two sites so give the same one, and they grow when another site sends on.
ALTER TABLE device_list_updates ADD COLUMN stream_id BIGINT NOT NULL DEFAULT 0;

UPDATE device_list_updates SET stream_id = position;
