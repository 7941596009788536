-- Webhooks (08 §11): which servers of customers want to know of which events, and what was sent to them.
--
-- An event goes into the outbox in the transaction of what happened, and in the same transaction the trigger below writes a delivery, with its job,
-- for each webhook that subscribes to it. So nothing that happened can be missed, and nothing is told that did not happen.

CREATE TABLE webhooks (
    id            text COLLATE "C" PRIMARY KEY CHECK (id ~ '^whk_[0-9a-z]{24}$'),
    project_id    text COLLATE "C" NOT NULL REFERENCES projects (id),
    url           text NOT NULL CHECK (octet_length(url) BETWEEN 8 AND 2048),
    -- Types, families such as `file.*`, or `*`.
    events        text[] NOT NULL,
    name          text,
    description   text,
    metadata      jsonb NOT NULL,
    active        boolean NOT NULL,
    disabled_reason text CHECK (disabled_reason IN ('failing', 'gone')),
    -- Sealed.
    secret        bytea NOT NULL,
    secret_hint   text NOT NULL,
    -- Sealed; signs too until then.
    previous_secret bytea,
    previous_secret_until timestamptz,
    -- The first failure after the last success.
    failing_since timestamptz,
    -- Tests in the hour that began then.
    tests_from    timestamptz,
    tests         integer NOT NULL DEFAULT 0,
    -- The server of a budget's own alerts: no subscription, and not listed as one.
    budget_id     text COLLATE "C",
    generation    bigint NOT NULL DEFAULT 1,
    created_by    text REFERENCES users (id),
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    deleted_at    timestamptz
);

CREATE INDEX webhooks_by_project ON webhooks (project_id, created_at, id) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX webhooks_of_budgets ON webhooks (budget_id) WHERE budget_id IS NOT NULL AND deleted_at IS NULL;

CREATE TABLE webhook_deliveries (
    id            text COLLATE "C" PRIMARY KEY CHECK (id ~ '^dlv_[0-9a-z]{24}$'),
    project_id    text COLLATE "C" NOT NULL,
    webhook_id    text COLLATE "C" NOT NULL REFERENCES webhooks (id),
    event_id      text COLLATE "C" NOT NULL,
    -- As this webhook is told it: some types have two names.
    event_type    text NOT NULL,
    status        text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivering', 'succeeded', 'retrying', 'exhausted')),
    attempt       integer NOT NULL DEFAULT 0,
    -- What came of each attempt.
    attempts      jsonb NOT NULL DEFAULT '[]',
    next_attempt_at timestamptz DEFAULT now(),
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered_at  timestamptz
) WITH (fillfactor = 80);

CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, created_at, id);
CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (created_at);

-- Whether a subscription covers a type.
CREATE FUNCTION webhook_wants(events text[], kind text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT events && ARRAY['*', kind, split_part(kind, '.', 1) || '.*'] OR (kind = 'exec.dispatched' AND 'exec.started' = ANY (events))
$$;

-- Writes a delivery of an event to a webhook, and its job.
CREATE FUNCTION webhook_deliver(project text, webhook text, event text, kind text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    delivery text := 'dlv_' || left(replace(gen_random_uuid()::text, '-', ''), 24);
BEGIN
    INSERT INTO webhook_deliveries (id, project_id, webhook_id, event_id, event_type) VALUES (delivery, project, webhook, event, kind);
    INSERT INTO jobs (id, project_id, queue, kind, lane, priority, payload, state, run_at, max_attempts)
    VALUES ('job_' || left(replace(gen_random_uuid()::text, '-', ''), 24), project, 'webhooks', 'deliver', webhook, 1,
        jsonb_build_object('delivery', delivery), 'ready', clock_timestamp(), 100);
    RETURN delivery;
END
$$;

CREATE FUNCTION outbox_fans_out() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM webhook_deliver(e.project_id, w.id, e.id,
        CASE WHEN e.kind = 'exec.dispatched' AND 'exec.started' = ANY (w.events) AND NOT 'exec.dispatched' = ANY (w.events)
            THEN 'exec.started' ELSE e.kind END)
    FROM fresh e JOIN webhooks w ON w.project_id = e.project_id AND w.deleted_at IS NULL AND w.active
        AND CASE WHEN w.budget_id IS NULL THEN webhook_wants(w.events, e.kind)
            ELSE e.kind = 'ox.budget_alert' AND e.payload->>'budget_id' = w.budget_id END;
    RETURN NULL;
END
$$;

CREATE TRIGGER outbox_fans_out AFTER INSERT ON outbox REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION outbox_fans_out();

ALTER TABLE webhooks ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON webhooks FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));
GRANT SELECT, INSERT, UPDATE ON webhooks TO xerotier_tenant, xerotier_system;

ALTER TABLE webhook_deliveries ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON webhook_deliveries FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));
GRANT SELECT, INSERT ON webhook_deliveries TO xerotier_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_deliveries TO xerotier_system;
GRANT SELECT ON outbox TO xerotier_tenant;

REVOKE EXECUTE ON FUNCTION webhook_wants, webhook_deliver, outbox_fans_out FROM PUBLIC;
GRANT EXECUTE ON FUNCTION webhook_deliver TO xerotier_tenant, xerotier_system;
