-- Projects and the keys that open them. Identifiers are texts that the program chooses (prefix and 24 characters).

CREATE TABLE projects (
    id          text PRIMARY KEY CHECK (id ~ '^proj_[0-9a-z]{24}$'),
    slug        text NOT NULL UNIQUE CHECK (slug ~ '^[a-z][a-z0-9-]{0,38}[a-z0-9]$'),
    name        text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 128),
    status      text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'deleted')),
    settings    jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    deleted_at  timestamptz
);

CREATE TABLE api_keys (
    id                text PRIMARY KEY CHECK (id ~ '^key_[0-9a-z]{24}$'),
    project_id        text NOT NULL REFERENCES projects (id),
    name              text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 64),
    -- The first 12 characters, to recognise a key by.
    prefix            text NOT NULL,
    -- SHA-256 of the whole key; the key itself is stored nowhere.
    key_hash          bytea NOT NULL UNIQUE CHECK (octet_length(key_hash) = 32),
    -- The value before a rotation, valid until grace_expires_at.
    previous_key_hash bytea UNIQUE CHECK (octet_length(previous_key_hash) = 32),
    grace_expires_at  timestamptz,
    scopes            text[] NOT NULL CHECK (scopes <@ ARRAY['inference', 'management', 'execution'] AND cardinality(scopes) > 0),
    -- The slug of the only endpoint the key may use.
    endpoint          text,
    ip_filter         jsonb,
    quota             jsonb,
    is_service        boolean NOT NULL DEFAULT false,
    is_active         boolean NOT NULL DEFAULT true,
    created_by        text,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    last_used_at      timestamptz,
    expires_at        timestamptz,
    revoked_at        timestamptz,
    CHECK ((previous_key_hash IS NULL) = (grace_expires_at IS NULL)),
    CHECK (is_active = (revoked_at IS NULL))
);

CREATE INDEX api_keys_by_project ON api_keys (project_id, created_at, id);
