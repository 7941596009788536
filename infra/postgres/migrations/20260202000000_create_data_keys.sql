-- The keys under which a project's private bytes are sealed, each wrapped by the master key, which is in no table.
CREATE TABLE data_keys (
    id             text PRIMARY KEY CHECK (id ~ '^dk_[0-9a-z]{24}$'),
    project_id     text NOT NULL REFERENCES projects (id),
    -- Nonce (12 bytes), ciphertext (32), tag (16); NULL = destroyed, and with it all that was sealed under the key.
    wrapped_key    bytea CHECK (octet_length(wrapped_key) = 60),
    -- Names the master key that wraps it: 64 bits derived from that key.
    master_key_id  text NOT NULL CHECK (master_key_id ~ '^[0-9a-f]{16}$'),
    created_at     timestamptz NOT NULL DEFAULT now(),
    rewrapped_at   timestamptz,
    -- Since then it opens what it sealed, and seals nothing new.
    retired_at     timestamptz,
    destroyed_at   timestamptz,
    CHECK ((wrapped_key IS NULL) = (destroyed_at IS NOT NULL)),
    CHECK (destroyed_at IS NULL OR retired_at IS NOT NULL)
);

-- One key at a time seals.
CREATE UNIQUE INDEX data_keys_current ON data_keys (project_id) WHERE retired_at IS NULL;
CREATE INDEX data_keys_by_project ON data_keys (project_id, created_at, id);

-- Requests of tenants get nothing of this table: no policy lets them, and no grant names them.
ALTER TABLE data_keys ENABLE ROW LEVEL SECURITY;
