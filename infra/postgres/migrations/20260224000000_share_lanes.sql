-- Lanes lead to servers of others (08 §11), and one that hangs holds a thread for as long as a call may last. A lane has to earn its share: until it
-- has shown that it is quick it has the few of `most_in_lane`, and the lanes that have no more than those share the few of `most_limited` in each
-- worker. So the others find a thread, however many new servers hang. A row of `job_lanes` with more than `most_in_lane` is a lane that has shown it.

DROP FUNCTION job_claim;

-- Takes up to `most` ready jobs of a queue: by priority, and within one of each lane in turn, beginning after the lane `after_lane`. No lane has more
-- running than its row in `job_lanes` says, or `most_in_lane` without one (NULL = any number, whatever the rows say). Lanes with no more than
-- `most_in_lane` have at most `most_limited` running together in this worker.
CREATE FUNCTION job_claim(
    from_queue text, after_lane text, most integer, most_in_lane integer, most_limited integer, worker_name text, lease double precision
) RETURNS SETOF jobs LANGUAGE plpgsql AS $$
DECLARE
    level smallint;
    turn text;
    next_lane text;
    is_wrapped boolean;
    has_taken boolean;
    share integer;
    limited integer := 0;
    taken jobs;
    wanted integer := most;
BEGIN
    -- A claim does not wait for the disk: one that a crash undoes is made again.
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE jobs SET state = 'ready' WHERE id IN (
        SELECT id FROM jobs WHERE queue = from_queue AND state = 'waiting' AND run_at <= clock_timestamp()
        ORDER BY run_at LIMIT 1000 FOR UPDATE SKIP LOCKED);
    IF most_in_lane IS NOT NULL THEN
        -- What is running is counted, so those who count go one by one. It is held for a millisecond or two.
        PERFORM pg_advisory_xact_lock(hashtextextended('job_claim ' || from_queue, 0));
        SELECT count(*) INTO limited FROM jobs j LEFT JOIN job_lanes l USING (queue, lane)
        WHERE j.queue = from_queue AND j.state = 'running' AND j.worker = worker_name AND coalesce(l.most_running, 0) <= most_in_lane;
    END IF;
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
                share := coalesce((SELECT l.most_running FROM job_lanes l WHERE l.queue = from_queue AND l.lane = turn), most_in_lane);
                CONTINUE WHEN share <= most_in_lane AND limited >= most_limited;
                CONTINUE WHEN share <= (SELECT count(*) FROM jobs j WHERE j.queue = from_queue AND j.lane = turn AND j.state = 'running');
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
                IF share <= most_in_lane THEN limited := limited + 1; END IF;
                RETURN NEXT taken;
            END IF;
        END LOOP;
    END LOOP;
END
$$;

REVOKE EXECUTE ON FUNCTION job_claim FROM PUBLIC;
GRANT EXECUTE ON FUNCTION job_claim TO xerotier_system;

-- Where a webhook leads to decides what it has shown; one that is gone needs no row.
CREATE FUNCTION webhook_forgets_lane() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM job_lanes WHERE queue = 'webhooks' AND lane = new.id;
    RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION webhook_forgets_lane FROM PUBLIC;

CREATE TRIGGER webhook_forgets_lane AFTER UPDATE OF url, deleted_at ON webhooks
    FOR EACH ROW WHEN (old.url <> new.url OR (old.deleted_at IS NULL AND new.deleted_at IS NOT NULL)) EXECUTE FUNCTION webhook_forgets_lane();

DELETE FROM job_lanes l USING webhooks w WHERE l.queue = 'webhooks' AND w.id = l.lane AND w.deleted_at IS NOT NULL;
