-- Mails that are to be sent, and were: one row for each person. They are written in the transaction of what they tell of, and the worker `billing`
-- sends them. `key` says what must not be mailed twice.

CREATE TABLE mails (
    id              text COLLATE "C" PRIMARY KEY,
    -- NULL = the platform's
    project_id      text COLLATE "C",
    key             text COLLATE "C" NOT NULL UNIQUE,
    recipient       text NOT NULL,
    subject         text NOT NULL,
    body            text NOT NULL,
    attempts        integer NOT NULL DEFAULT 0,
    -- Whoever sends it puts this off first, so that no second worker sends it meanwhile.
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    sent_at         timestamptz,
    -- Given up.
    failed_at       timestamptz,
    last_error      text,
    created_at      timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX mails_by_attempt ON mails (next_attempt_at) WHERE sent_at IS NULL AND failed_at IS NULL;

-- People's addresses: no request reads them as its tenant.
ALTER TABLE mails ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON mails FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));
GRANT SELECT, INSERT, UPDATE ON mails TO xerotier_system;
