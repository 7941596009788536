-- What the managers of a project do with its agents, what the mesh tells of them, and what has happened to each (05 §12, §13, §15, §21).

ALTER TABLE agents
    -- What it is called on the mesh: the region that it was enrolled in, and its id. It stays when the agent is moved to another region.
    ADD COLUMN worker_id text COLLATE "C",
    ADD COLUMN description text CHECK (char_length(description) <= 512),
    ADD COLUMN storage_limit_enabled boolean NOT NULL DEFAULT false,
    ADD COLUMN storage_limit_bytes bigint CHECK (storage_limit_bytes BETWEEN 0 AND 1125899906842624),
    ADD COLUMN suspended_at timestamptz,
    -- It gets nothing new, and what it works on may go on until then; of a removed one too.
    ADD COLUMN drain_until timestamptz,
    -- It may come in no more, and enrols again under its name with another join key.
    ADD COLUMN credentials_revoked_at timestamptz,
    -- Its key before the last rotation, good until then.
    ADD COLUMN previous_curve_key text COLLATE "C" CHECK (char_length(previous_curve_key) = 40),
    ADD COLUMN previous_curve_key_until timestamptz,
    -- A rotation that the agent has not answered yet.
    ADD COLUMN rotation_nonce bytea CHECK (octet_length(rotation_nonce) = 32),
    ADD COLUMN rotation_reason text CHECK (char_length(rotation_reason) <= 256),
    -- As the mesh sees it.
    ADD COLUMN is_online boolean NOT NULL DEFAULT false,
    ADD COLUMN lease_until timestamptz,
    ADD COLUMN in_flight integer NOT NULL DEFAULT 0 CHECK (in_flight >= 0),
    ADD COLUMN models jsonb NOT NULL DEFAULT '[]';

UPDATE agents SET worker_id = region || ':' || id;
ALTER TABLE agents ALTER COLUMN worker_id SET NOT NULL;

CREATE INDEX agents_by_previous_curve_key ON agents (previous_curve_key) WHERE previous_curve_key IS NOT NULL;
CREATE INDEX agents_online ON agents (last_heartbeat_at) WHERE is_online;

GRANT UPDATE (name, description, max_concurrent_requests, supported_tiers, storage_limit_enabled, storage_limit_bytes, region, suspended_at,
    drain_until, credentials_revoked_at, rotation_nonce, rotation_reason) ON agents TO xerotier_tenant;

CREATE TABLE agent_events (
    id         text COLLATE "C" PRIMARY KEY CHECK (id ~ '^agev_[0-9a-z]{24}$'),
    project_id text COLLATE "C" NOT NULL REFERENCES projects (id),
    agent_id   text COLLATE "C" NOT NULL REFERENCES agents (id),
    type       text NOT NULL CHECK (type ~ '^agent\.[a-z_]{1,40}$'),
    -- Why, in the words of who did it or of the mesh.
    reason     text CHECK (char_length(reason) <= 256),
    -- The user who did it; NULL = the operator, the agent or the mesh.
    actor_id   text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX agent_events_by_agent ON agent_events (agent_id, created_at, id);

ALTER TABLE agent_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON agent_events FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));
GRANT SELECT, INSERT ON agent_events TO xerotier_tenant;
GRANT SELECT, INSERT, DELETE ON agent_events TO xerotier_system;
