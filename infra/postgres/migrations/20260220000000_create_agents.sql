-- Agents: programs on customers' machines that dial out to the mesh and serve a project's models (05 §11, §21). Each was enrolled with a join key.

CREATE TABLE agents (
    id            text COLLATE "C" PRIMARY KEY CHECK (id ~ '^agt_[0-9a-z]{24}$'),
    project_id    text COLLATE "C" NOT NULL REFERENCES projects (id),
    name          text COLLATE "C" NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,47}$'),
    role          text NOT NULL CHECK (role IN ('inference', 'execution')),
    region        text NOT NULL CHECK (region ~ '^[!-9;-~]{1,24}$'),
    -- Z85 of the key that the mesh knows it by, and the Ed25519 key that it signs with.
    curve_public_key text COLLATE "C" NOT NULL CHECK (char_length(curve_public_key) = 40),
    signing_public_key bytea NOT NULL CHECK (octet_length(signing_public_key) = 32),
    -- What the agent said of itself; believed by nobody but those who look at it.
    hostname      text CHECK (char_length(hostname) <= 255),
    agent_version text NOT NULL CHECK (char_length(agent_version) BETWEEN 1 AND 64),
    platform      jsonb NOT NULL,
    accelerators  jsonb NOT NULL,
    -- 0 = as many as its engine has places.
    max_concurrent_requests integer NOT NULL CHECK (max_concurrent_requests BETWEEN 0 AND 4096),
    -- NULL = what its accelerators are good for.
    supported_tiers text[] CHECK (cardinality(supported_tiers) BETWEEN 1 AND 16),
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_heartbeat_at timestamptz,
    -- It is shown no more, its token is good for nothing, and its name may be taken.
    revoked_at    timestamptz
);

CREATE INDEX agents_by_project ON agents (project_id, created_at, id);
CREATE UNIQUE INDEX agents_by_name ON agents (project_id, name) WHERE revoked_at IS NULL;
-- The mesh tells agents apart by it, whatever their project.
CREATE UNIQUE INDEX agents_by_curve_key ON agents (curve_public_key);

ALTER TABLE agents ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON agents FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));
-- Only enrolment makes an agent.
GRANT SELECT, UPDATE (revoked_at) ON agents TO xerotier_tenant;
GRANT SELECT, INSERT, UPDATE ON agents TO xerotier_system;

ALTER TABLE join_keys ADD FOREIGN KEY (agent_id) REFERENCES agents (id);
