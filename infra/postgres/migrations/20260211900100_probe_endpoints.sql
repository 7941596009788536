-- Endpoints come to life by a probe of their servers' health, and leave in two steps.

ALTER TABLE endpoints
    -- When a gateway last took it upon itself to ask its servers; NULL = ask now.
    ADD COLUMN probed_at       timestamptz,
    -- Rounds in a row in which some server did not answer.
    ADD COLUMN probe_failures  integer NOT NULL DEFAULT 0 CHECK (probe_failures >= 0),
    -- Servers that answered in the last round.
    ADD COLUMN ready_servers   integer NOT NULL DEFAULT 0 CHECK (ready_servers >= 0);

CREATE INDEX endpoints_by_probe ON endpoints (probed_at) WHERE deleted_at IS NULL;

-- A slug is free again a day after its endpoint was deleted.
CREATE INDEX endpoints_by_deleted_slug ON endpoints (project_id, slug, deleted_at) WHERE deleted_at IS NOT NULL;
