-- A claim does not wait for the disk. When Postgres crashes in the moment after it, the job is ready again and may be claimed once more under the same
-- generation; of those who have it still only one can end it, since that needs a row that is running. What ends a job is durable as ever.

-- Takes up to `most` ready jobs of a queue: by priority, and within one of each lane in turn, beginning after the lane `after_lane`. No lane has
-- more than `most_in_lane` running (NULL = any number).
CREATE OR REPLACE FUNCTION job_claim(
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
    PERFORM set_config('synchronous_commit', 'off', true);
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
