-- Work that can wait (01 §2): a row written in the transaction of its cause. The row is the record, a ring over Redis only says that one is there.
--
-- A worker claims a job with a lease and a new generation, so that a worker that was too slow cannot finish a job that it has lost. What a job does
-- in Postgres and its end are one transaction: each effect is there exactly once.

CREATE TABLE jobs (
    id            text COLLATE "C" PRIMARY KEY CHECK (id ~ '^job_[0-9a-z]{24}$'),
    -- NULL = the platform's own
    project_id    text COLLATE "C",
    -- Which workers do it, and which of their handlers.
    queue         text COLLATE "C" NOT NULL CHECK (queue ~ '^[a-z_]{1,32}$'),
    kind          text COLLATE "C" NOT NULL,
    -- Jobs of one lane wait for each other, lanes take turns: the project, or something smaller.
    lane          text COLLATE "C" NOT NULL CHECK (lane <> ''),
    -- 2 goes before 1 and 1 before 0.
    priority      smallint NOT NULL CHECK (priority BETWEEN 0 AND 2),
    -- Of jobs of a queue and project with the same key only one is unfinished at a time.
    unique_key    text COLLATE "C",
    payload       jsonb NOT NULL,
    -- `waiting` becomes `ready` at run_at.
    state         text COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'ready', 'running', 'done', 'dead')),
    run_at        timestamptz NOT NULL,
    -- Times that it was claimed.
    attempt       integer NOT NULL DEFAULT 0,
    max_attempts  integer NOT NULL CHECK (max_attempts >= 1),
    generation    bigint NOT NULL DEFAULT 0,
    worker        text,
    lease_expires_at timestamptz,
    -- Why the last attempt failed, or why it is dead.
    last_error    text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz,
    CHECK ((state = 'running') = (lease_expires_at IS NOT NULL)),
    CHECK ((state IN ('done', 'dead')) = (ended_at IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);

CREATE INDEX jobs_ready ON jobs (queue, priority, lane, run_at, id) WHERE state = 'ready';
CREATE INDEX jobs_waiting ON jobs (queue, run_at) WHERE state = 'waiting';
CREATE INDEX jobs_running ON jobs (queue, lane) WHERE state = 'running';
CREATE INDEX jobs_ended ON jobs (ended_at) WHERE state IN ('done', 'dead');
CREATE UNIQUE INDEX jobs_unique ON jobs (queue, project_id, unique_key) NULLS NOT DISTINCT
    WHERE unique_key IS NOT NULL AND state IN ('waiting', 'ready', 'running');

-- Lanes that may have fewer jobs running than their queue allows, such as one that leads to a server that fails.
CREATE TABLE job_lanes (
    queue         text COLLATE "C" NOT NULL,
    lane          text COLLATE "C" NOT NULL,
    most_running  integer NOT NULL CHECK (most_running >= 0),
    PRIMARY KEY (queue, lane)
);

-- Jobs that come again and again.
CREATE TABLE job_schedules (
    name          text COLLATE "C" PRIMARY KEY,
    queue         text COLLATE "C" NOT NULL,
    kind          text COLLATE "C" NOT NULL,
    every_seconds double precision NOT NULL CHECK (every_seconds > 0),
    next_run_at   timestamptz NOT NULL DEFAULT now()
);

-- Takes up to `most` ready jobs of a queue: by priority, and within one of each lane in turn, beginning after the lane `after_lane`. No lane has
-- more than `most_in_lane` running (NULL = any number).
CREATE FUNCTION job_claim(
    from_queue text, after_lane text, most integer, most_in_lane integer, worker_name text, lease double precision
) RETURNS SETOF jobs LANGUAGE plpgsql AS $$
DECLARE
    level smallint;
    turn text;
    next_lane text;
    is_wrapped boolean;
    has_taken boolean;
    room integer;
    taken jobs;
    wanted integer := most;
BEGIN
    UPDATE jobs SET state = 'ready' WHERE id IN (
        SELECT id FROM jobs WHERE queue = from_queue AND state = 'waiting' AND run_at <= clock_timestamp()
        ORDER BY run_at LIMIT 1000 FOR UPDATE SKIP LOCKED);
    -- What is running is counted, so those who count go one by one. It is held for a millisecond or two.
    IF most_in_lane IS NOT NULL THEN PERFORM pg_advisory_xact_lock(hashtextextended('job_claim ' || from_queue, 0)); END IF;
    FOREACH level IN ARRAY '{2,1,0}'::smallint[] LOOP
        turn := after_lane;
        is_wrapped := false;
        has_taken := false;
        WHILE wanted > 0 LOOP
            SELECT j.lane INTO next_lane FROM jobs j
            WHERE j.queue = from_queue AND j.state = 'ready' AND j.priority = level AND j.lane > turn ORDER BY j.lane LIMIT 1;
            IF NOT FOUND OR (is_wrapped AND next_lane COLLATE "C" > after_lane) THEN
                IF NOT is_wrapped THEN
                    is_wrapped := true;
                    turn := '';
                ELSIF has_taken THEN
                    is_wrapped := false;
                    has_taken := false;
                    turn := after_lane;
                ELSE
                    EXIT;
                END IF;
                CONTINUE;
            END IF;
            turn := next_lane;
            IF most_in_lane IS NOT NULL THEN
                SELECT coalesce((SELECT l.most_running FROM job_lanes l WHERE l.queue = from_queue AND l.lane = turn), most_in_lane)
                    - (SELECT count(*) FROM jobs j WHERE j.queue = from_queue AND j.lane = turn AND j.state = 'running') INTO room;
                CONTINUE WHEN room <= 0;
            END IF;
            UPDATE jobs SET state = 'running', attempt = attempt + 1, generation = generation + 1, worker = worker_name,
                lease_expires_at = clock_timestamp() + make_interval(secs => lease)
            WHERE id = (
                SELECT id FROM jobs WHERE queue = from_queue AND state = 'ready' AND priority = level AND lane = turn
                ORDER BY run_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING * INTO taken;
            IF FOUND THEN
                has_taken := true;
                wanted := wanted - 1;
                RETURN NEXT taken;
            END IF;
        END LOOP;
    END LOOP;
END
$$;

ALTER TABLE jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON jobs FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));
-- Requests write jobs, workers do them.
GRANT SELECT, INSERT ON jobs TO xerotier_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs, job_lanes, job_schedules TO xerotier_system;
REVOKE EXECUTE ON FUNCTION job_claim FROM PUBLIC;
GRANT EXECUTE ON FUNCTION job_claim TO xerotier_system;

-- Events stand in the outbox until they are old: whoever delivers them keeps its own account of what was delivered.
DROP INDEX outbox_by_time;
ALTER TABLE outbox DROP COLUMN delivered_at;
CREATE INDEX outbox_by_age ON outbox (created_at);
GRANT DELETE ON outbox TO xerotier_system;
