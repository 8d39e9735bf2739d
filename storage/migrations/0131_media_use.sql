-- When somebody looked at our own media last, as far as it was written down; NULL while there is no content. What is
-- there already counts as looked at now: nobody wrote it down before.
ALTER TABLE media ADD COLUMN used_ms BIGINT;
UPDATE media SET used_ms = COALESCE((SELECT MAX(at_ms) FROM log), uploaded_ms) WHERE uploaded_ms IS NOT NULL;
CREATE INDEX media_by_use ON media (used_ms);
CREATE INDEX media_by_file ON media (file_key);

-- Thumbnails belong to a file, not to a media ID: so one of a picture that was deleted is never taken for one of the
-- picture that has its place. Those of before can be made again.
ALTER TABLE thumbnails RENAME COLUMN media_id TO original_key;
DELETE FROM thumbnails WHERE original_key NOT IN (SELECT media_id FROM media WHERE file_key IS NOT NULL);
UPDATE thumbnails SET original_key = (SELECT file_key FROM media WHERE media.media_id = thumbnails.original_key);
