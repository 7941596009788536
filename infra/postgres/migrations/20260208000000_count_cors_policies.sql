-- An endpoint's CORS policy (08 §3): NULL = the default, which only the gateways know. Nothing could set it until now.
ALTER TABLE endpoints ALTER COLUMN cors DROP NOT NULL;
ALTER TABLE endpoints ALTER COLUMN cors DROP DEFAULT;
UPDATE endpoints SET cors = NULL;
-- Counts the policies that an endpoint has had.
ALTER TABLE endpoints ADD COLUMN cors_generation bigint NOT NULL DEFAULT 1;
