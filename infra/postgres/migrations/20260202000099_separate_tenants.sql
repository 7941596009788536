-- Row-level security by project. The roles are made by the operator (README, "Roles of the database"):
--   xerotier_tenant  sees the rows of the project that the session's setting xerotier.project names, and nothing when it names none;
--   xerotier_system  has BYPASSRLS.
-- The owner is not bound (no FORCE): migrations move rows of all projects, and nothing else runs as the owner.

ALTER TABLE projects ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON projects FOR ALL TO xerotier_tenant
    USING (id = current_setting('xerotier.project', true)) WITH CHECK (id = current_setting('xerotier.project', true));
-- A lock on the project's row (FOR UPDATE) needs the right to change some column.
GRANT SELECT, UPDATE (name, settings, updated_at) ON projects TO xerotier_tenant;
GRANT SELECT, INSERT, UPDATE ON projects TO xerotier_system;

ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON api_keys FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));
GRANT SELECT, INSERT, UPDATE ON api_keys TO xerotier_tenant, xerotier_system;

ALTER TABLE models ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON models FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));
GRANT SELECT, INSERT, UPDATE ON models TO xerotier_tenant, xerotier_system;

ALTER TABLE endpoints ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON endpoints FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));
GRANT SELECT, INSERT, UPDATE ON endpoints TO xerotier_tenant, xerotier_system;

-- No request reads keys as its tenant: they are unwrapped by the part that seals, which is not reached by statements of handlers.
GRANT SELECT, INSERT, UPDATE ON data_keys TO xerotier_system;

GRANT SELECT ON service_tiers TO xerotier_tenant;
GRANT SELECT, INSERT, UPDATE ON service_tiers TO xerotier_system;

-- Usage is written by the committer alone. Rights on the parent cover its partitions only when they are reached through it.
ALTER TABLE usage_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON usage_events FOR SELECT TO xerotier_tenant USING (project_id = current_setting('xerotier.project', true));
GRANT SELECT ON usage_events TO xerotier_tenant;
GRANT SELECT, INSERT ON usage_events TO xerotier_system;
GRANT SELECT ON usage_events_default TO xerotier_system;

-- Partitions have neither rights nor policies of their own: with security enabled that shows nothing, whatever is granted later.
DO $$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'usage_events'::regclass LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', partition);
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION create_usage_partitions(first timestamptz, months integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    month timestamp;
    name text;
    begins timestamptz;
    ends timestamptz;
BEGIN
    FOR number IN 0..months LOOP
        month := date_trunc('month', first AT TIME ZONE 'UTC') + make_interval(months => number);
        name := 'usage_events_' || to_char(month, 'YYYY_MM');
        CONTINUE WHEN to_regclass(name) IS NOT NULL;
        begins := month AT TIME ZONE 'UTC';
        ends := (month + interval '1 month') AT TIME ZONE 'UTC';
        LOCK TABLE usage_events IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('CREATE TABLE %I (LIKE usage_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'WITH moved AS (DELETE FROM usage_events_default WHERE created_at >= %L AND created_at < %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
            begins, ends, name);
        EXECUTE format('ALTER TABLE usage_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, begins, ends);
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION create_usage_partitions FROM PUBLIC;
