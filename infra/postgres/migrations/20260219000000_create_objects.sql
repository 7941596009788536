-- What lies in the object store (03 §1, 08 §4). An object is one row, which is its manifest, and `parts` objects of the store under `key/0`,
-- `key/1`, …, each one sealed frame. Bytes without a row are orphans, and are collected.

CREATE TABLE storage_usage (
    project_id   text PRIMARY KEY REFERENCES projects (id),
    -- Of all stored objects; changed in the transaction of each.
    bytes        bigint NOT NULL DEFAULT 0 CHECK (bytes >= 0),
    -- Promised to objects that are being written.
    reserved     bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    -- The operator's own limit for this project; NULL = what everybody has.
    limit_bytes  bigint CHECK (limit_bytes >= 0)
);

CREATE TABLE objects (
    -- `<project>/<kind>/<id>`
    key          text COLLATE "C" PRIMARY KEY,
    project_id   text NOT NULL REFERENCES projects (id),
    kind         text NOT NULL CHECK (kind IN ('model', 'completion', 'response', 'conversation', 'batch', 'file', 'upload', 'artifact', 'chunk',
                     'export', 'execlog', 'invoice', 'answer')),
    -- `writing` holds a reservation and may be given up; `deleted` waits until its bytes are gone.
    state        text NOT NULL DEFAULT 'writing' CHECK (state IN ('writing', 'stored', 'deleted')),
    -- Of plain text. While it is written: what is reserved.
    bytes        bigint NOT NULL CHECK (bytes >= 0),
    -- That may be in the store; a part is counted before it is put.
    parts        integer NOT NULL DEFAULT 0 CHECK (parts >= 0),
    -- Of the plain text; NULL unless stored.
    sha256       bytea CHECK (octet_length(sha256) = 32),
    created_at   timestamptz NOT NULL DEFAULT now(),
    -- The last sign of whoever writes it, or when it was deleted.
    touched_at   timestamptz NOT NULL DEFAULT now(),
    CHECK (state <> 'stored' OR sha256 IS NOT NULL)
);
CREATE INDEX objects_by_project ON objects (project_id, kind) INCLUDE (bytes) WHERE state = 'stored';
CREATE INDEX objects_to_expire ON objects (created_at) WHERE state = 'stored' AND kind = 'answer';
CREATE INDEX objects_to_collect ON objects (touched_at) WHERE state <> 'stored';

CREATE TABLE files (
    id              text COLLATE "C" PRIMARY KEY CHECK (id ~ '^file-[0-9a-z]{24}$'),
    project_id      text NOT NULL REFERENCES projects (id),
    -- Emptied when the file is deleted, as all that the customer wrote.
    filename        text NOT NULL CHECK (octet_length(filename) <= 255),
    purpose         text NOT NULL CHECK (purpose IN ('assistants', 'batch', 'fine-tune', 'vision', 'user_data', 'evals', 'assistants_output',
                        'batch_output')),
    content_type    text NOT NULL,
    relative_path   text CHECK (octet_length(relative_path) <= 1024),
    attributes      jsonb,
    bytes           bigint NOT NULL CHECK (bytes > 0),
    sha256          bytea NOT NULL CHECK (octet_length(sha256) = 32),
    object_key      text COLLATE "C" NOT NULL UNIQUE,
    status          text NOT NULL DEFAULT 'processed' CHECK (status IN ('uploaded', 'processed', 'error')),
    status_details  text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz,
    -- The row stays a while, so that lists can go on behind it.
    deleted_at      timestamptz
);
CREATE INDEX files_by_age ON files (project_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX files_to_expire ON files (expires_at) WHERE deleted_at IS NULL AND expires_at IS NOT NULL;
CREATE INDEX files_to_forget ON files (deleted_at) WHERE deleted_at IS NOT NULL;

ALTER TABLE storage_usage ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON storage_usage FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));
GRANT SELECT, INSERT (project_id), UPDATE (bytes, reserved) ON storage_usage TO xerotier_tenant;
GRANT SELECT, INSERT, UPDATE ON storage_usage TO xerotier_system;

ALTER TABLE objects ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON objects FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));
GRANT SELECT, INSERT, UPDATE ON objects TO xerotier_tenant;
GRANT SELECT, UPDATE, DELETE ON objects TO xerotier_system;

ALTER TABLE files ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON files FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));
GRANT SELECT, INSERT, UPDATE ON files TO xerotier_tenant;
GRANT SELECT, UPDATE, DELETE ON files TO xerotier_system;
