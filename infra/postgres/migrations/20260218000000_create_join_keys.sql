-- Join keys: each lets one agent enrol, once, within its time (05 §11, §21). What the key says of role, region and tiers is what the agent will have.

CREATE TABLE join_keys (
    id            text COLLATE "C" PRIMARY KEY CHECK (id ~ '^jk_[0-9a-z]{24}$'),
    project_id    text COLLATE "C" NOT NULL REFERENCES projects (id),
    name          text CHECK (char_length(name) BETWEEN 1 AND 64),
    -- The first 12 characters, to recognise a key by.
    prefix        text NOT NULL,
    -- SHA-256 of the whole key; the key itself is stored nowhere.
    key_hash      bytea NOT NULL UNIQUE CHECK (octet_length(key_hash) = 32),
    role          text NOT NULL CHECK (role IN ('inference', 'execution')),
    -- NULL = the deployment's.
    region        text CHECK (region ~ '^[!-9;-~]{1,24}$'),
    -- NULL = what the agent's accelerators are good for.
    supported_tiers text[] CHECK (cardinality(supported_tiers) BETWEEN 1 AND 16),
    -- NULL = the deployment's mesh.
    router_addr   text CHECK (char_length(router_addr) BETWEEN 1 AND 255),
    -- 0 = as many as the agent's engine has places.
    max_concurrent_requests integer NOT NULL CHECK (max_concurrent_requests BETWEEN 0 AND 4096),
    created_by    text REFERENCES users (id),
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz NOT NULL,
    revoked_at    timestamptz,
    -- Both are set in the transaction that makes the agent.
    consumed_at   timestamptz,
    agent_id      text COLLATE "C" CHECK (agent_id ~ '^agt_[0-9a-z]{24}$'),
    CHECK ((consumed_at IS NULL) = (agent_id IS NULL)),
    CHECK (consumed_at IS NULL OR revoked_at IS NULL)
);

CREATE INDEX join_keys_by_project ON join_keys (project_id, created_at, id);

ALTER TABLE join_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON join_keys FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));
-- A tenant makes and revokes keys; only enrolment, which knows no project before it knows the key, consumes one.
GRANT SELECT, INSERT, UPDATE (revoked_at) ON join_keys TO xerotier_tenant;
GRANT SELECT, UPDATE ON join_keys TO xerotier_system;
