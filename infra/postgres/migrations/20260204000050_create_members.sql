-- People, and what they may do in a project. Signing in comes later; keys already act for the user who made them.

CREATE TABLE users (
    id           text PRIMARY KEY CHECK (id ~ '^user_[0-9a-z]{24}$'),
    email        text NOT NULL CHECK (char_length(email) BETWEEN 3 AND 254 AND email LIKE '%_@_%'),
    name         text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 128),
    -- admin = all projects and the system itself
    system_role  text NOT NULL DEFAULT 'operator' CHECK (system_role IN ('operator', 'admin')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX users_by_email ON users (lower(email));

CREATE TABLE memberships (
    project_id   text NOT NULL REFERENCES projects (id),
    user_id      text NOT NULL REFERENCES users (id),
    role         text NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, user_id)
);

CREATE INDEX memberships_by_user ON memberships (user_id);

ALTER TABLE api_keys ADD FOREIGN KEY (created_by) REFERENCES users (id);

ALTER TABLE memberships ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON memberships FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));

-- A tenant's work needs to know who is a system admin, and nothing else about people.
GRANT SELECT (id, system_role) ON users TO xerotier_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON memberships TO xerotier_tenant;
GRANT SELECT, INSERT, UPDATE ON users TO xerotier_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON memberships TO xerotier_system;
