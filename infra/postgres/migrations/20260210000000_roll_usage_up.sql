-- Usage by day: what the rows of usage_events sum to, kept for ever, and how far they have been added.

-- One row for what one key of a project did on one UTC day through one endpoint, model, surface and profile. Names that a row of usage_events lacks
-- are ''. `errors_client` counts the faults `client` and `policy`, `errors_agent` those of `agent` and `router`.
CREATE TABLE daily_usage_rollups (
    project_id     text NOT NULL,
    day            date NOT NULL,
    endpoint_slug  text NOT NULL DEFAULT '',
    model_name     text NOT NULL DEFAULT '',
    surface        text NOT NULL,
    service_tier   text NOT NULL,
    api_key_id     text NOT NULL DEFAULT '',
    is_xim         boolean NOT NULL,
    requests       bigint NOT NULL,
    errors_client  bigint NOT NULL,
    errors_agent   bigint NOT NULL,
    input_tokens   bigint NOT NULL,
    output_tokens  bigint NOT NULL,
    cached_tokens  bigint NOT NULL,
    cost_nano      bigint NOT NULL,
    -- As `usage_histogram` makes them.
    latency_hist   bytea NOT NULL,
    ttft_hist      bytea NOT NULL,
    first_event_at timestamptz,
    last_event_at  timestamptz,
    -- Counts how often a recomputation found other amounts than were here.
    revision       integer NOT NULL DEFAULT 1,
    updated_at     timestamptz NOT NULL,
    PRIMARY KEY (project_id, day, endpoint_slug, model_name, surface, service_tier, api_key_id, is_xim)
);

-- The nightly recomputation goes by days.
CREATE INDEX daily_usage_rollups_by_day ON daily_usage_rollups (day);

ALTER TABLE daily_usage_rollups ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON daily_usage_rollups FOR SELECT TO xerotier_tenant USING (project_id = current_setting('xerotier.project', true));
GRANT SELECT ON daily_usage_rollups TO xerotier_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON daily_usage_rollups TO xerotier_system;

-- How far the rollups are; one row.
CREATE TABLE usage_progress (
    is_only       boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    -- Rows whose inserting transaction is below this are in the rollups, all others are not. It is always the xmin of some snapshot: every
    -- transaction below it had ended then, so none can still bring a row.
    watermark     xid8 NOT NULL,
    -- The last day (UTC) in whose night the days before were recomputed.
    recomputed_on date
);
INSERT INTO usage_progress (watermark) VALUES ('0');
-- Readers add the rows past the watermark to the rollups.
GRANT SELECT ON usage_progress TO xerotier_tenant;
GRANT SELECT, UPDATE ON usage_progress TO xerotier_system;

-- The watermark that is right now: every transaction below it has ended, and what it wrote is seen by whoever asks.
CREATE FUNCTION usage_horizon() RETURNS xid8 LANGUAGE sql STABLE AS $$ SELECT pg_snapshot_xmin(pg_current_snapshot()) $$;

-- For a database that was filled from a dump, and so counts its transactions anew: takes all rows for added, which the caller then makes true.
CREATE FUNCTION restart_usage_rollups() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    -- No row may come in between.
    LOCK TABLE usage_events IN SHARE ROW EXCLUSIVE MODE;
    UPDATE usage_events SET xid = '3';
    UPDATE usage_progress SET watermark = usage_horizon();
END
$$;

-- The list of a project's requests, newest first, and the parts of days at both ends of a period.
CREATE INDEX usage_events_by_project ON usage_events (project_id, created_at);

-- MARK: histograms
--
-- A histogram of milliseconds is a sequence of pairs of 9 bytes: the bucket's number b in one byte, and the count in it as a big-endian bigint.
-- Bucket b holds the times t with 1.1^b <= t + 1 < 1.1^(b+1), so a quantile read from it is right to 5 %; 255 holds all beyond 10 months.
-- Two histograms are merged by putting them one behind the other. In a normal one the buckets ascend, each stands once, and none is empty.

CREATE FUNCTION usage_bucket(milliseconds integer) RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT least(255, floor(ln(greatest(milliseconds, 0)::double precision + 1) / ln(1.1::double precision))::integer)
$$;

-- A histogram of `count` times in one bucket; empty where there is none.
CREATE FUNCTION usage_histogram(bucket integer, count bigint) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN bucket IS NULL THEN ''::bytea ELSE set_byte('\x00', 0, bucket) || int8send(count) END
$$;

-- The normal form.
CREATE FUNCTION usage_histogram(merged bytea) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT coalesce(string_agg(set_byte('\x00', 0, bucket) || int8send(count), ''::bytea ORDER BY bucket), ''::bytea)
    FROM (
        SELECT get_byte(merged, n) AS bucket, sum(('x' || encode(substr(merged, n + 2, 8), 'hex'))::bit(64)::bigint)::bigint AS count
        FROM generate_series(0, octet_length(merged) - 9, 9) AS n
        GROUP BY 1) b
    WHERE count <> 0
$$;

-- MARK: partitions, made ahead and given up by the worker, which does not own them

ALTER FUNCTION create_usage_partitions SECURITY DEFINER SET search_path = public, pg_temp;
GRANT EXECUTE ON FUNCTION create_usage_partitions TO xerotier_system;

-- Drops the months that ended before `before` and are in the rollups; answers their names.
CREATE FUNCTION drop_usage_partitions(before timestamptz) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    name text;
    is_counted boolean;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'usage_events'::regclass AND c.relname ~ '^usage_events_[0-9]{4}_[0-9]{2}$'
            AND (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC' <= before
        ORDER BY c.relname
    LOOP
        EXECUTE format('SELECT NOT EXISTS (SELECT FROM %I WHERE xid >= (SELECT watermark FROM usage_progress))', name) INTO is_counted;
        CONTINUE WHEN NOT is_counted;
        EXECUTE format('DROP TABLE %I', name);
        RETURN NEXT name;
    END LOOP;
END
$$;

-- Deletes what is older than `before`, and in the rollups, from `blocks` blocks of a partition. `is_end` = there are no blocks after them.
CREATE FUNCTION delete_usage_events(partition text, before timestamptz, first_block bigint, blocks integer, OUT deleted bigint, OUT is_end boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF partition !~ '^usage_events_([0-9]{4}_[0-9]{2}|default)$' THEN
        RAISE EXCEPTION '% is no partition of usage_events.', partition USING ERRCODE = 'undefined_table';
    END IF;
    EXECUTE format(
        'DELETE FROM %I WHERE ctid >= %L::tid AND ctid < %L::tid AND created_at < $1 AND xid < (SELECT watermark FROM usage_progress)',
        partition, format('(%s,0)', first_block), format('(%s,0)', first_block + blocks)) USING before;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    is_end := (first_block + blocks) * current_setting('block_size')::bigint >= pg_relation_size(partition::regclass);
END
$$;

REVOKE EXECUTE ON FUNCTION restart_usage_rollups, drop_usage_partitions, delete_usage_events FROM PUBLIC;
GRANT EXECUTE ON FUNCTION restart_usage_rollups, drop_usage_partitions, delete_usage_events TO xerotier_system;
