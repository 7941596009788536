-- What the router chose among and what it drew, so that a choice can be looked into, and made again (05 §4). A week of them is kept.

CREATE TABLE routing_decisions (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  text COLLATE "C" NOT NULL REFERENCES projects (id),
    request_id  text COLLATE "C" NOT NULL CHECK (char_length(request_id) <= 256),
    -- Of the request's, from 1.
    attempt     integer NOT NULL CHECK (attempt > 0),
    model       text NOT NULL,
    tier        text NOT NULL,
    worker_id   text NOT NULL,
    explored    boolean NOT NULL,
    -- [worker, score, has the model loaded] of each that could be chosen, in the order in which they were drawn from.
    candidates  jsonb NOT NULL CHECK (jsonb_typeof(candidates) = 'array'),
    sharpness   integer NOT NULL,
    epsilon     double precision NOT NULL,
    -- Of the generator, 64 bits.
    seed        bigint NOT NULL,
    decision_us integer NOT NULL,
    decided_at  timestamptz NOT NULL
);

CREATE INDEX routing_decisions_by_age ON routing_decisions (decided_at);
CREATE INDEX routing_decisions_by_request ON routing_decisions (project_id, request_id);

ALTER TABLE routing_decisions ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON routing_decisions FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));
GRANT SELECT ON routing_decisions TO xerotier_tenant;
GRANT SELECT, INSERT, DELETE ON routing_decisions TO xerotier_system;
