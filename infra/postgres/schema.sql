--
-- PostgreSQL database dump
--



SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: ledger_account_kind; Type: TYPE; Schema: public; Owner: -
--

CREATE TYPE public.ledger_account_kind AS ENUM (
    'cash',
    'promo',
    'held',
    'revenue',
    'payments_clearing',
    'grants',
    'refunds',
    'write_off'
);


--
-- Name: ledger_hold_kind; Type: TYPE; Schema: public; Owner: -
--

CREATE TYPE public.ledger_hold_kind AS ENUM (
    'request',
    'lease'
);


--
-- Name: ledger_hold_state; Type: TYPE; Schema: public; Owner: -
--

CREATE TYPE public.ledger_hold_state AS ENUM (
    'open',
    'settled',
    'released',
    'expired'
);


--
-- Name: ledger_kind; Type: TYPE; Schema: public; Owner: -
--

CREATE TYPE public.ledger_kind AS ENUM (
    'topup',
    'grant',
    'hold',
    'release',
    'settle',
    'node_hour',
    'subscription',
    'refund',
    'chargeback',
    'adjust',
    'expire_promo'
);


--
-- Name: settled_request; Type: TYPE; Schema: public; Owner: -
--

CREATE TYPE public.settled_request AS (
	id text,
	project_id text,
	endpoint_id text,
	endpoint_slug text,
	model_id text,
	model_name text,
	model_version text,
	api_key_id text,
	user_id text,
	request_id text,
	surface text,
	service_tier text,
	tier text,
	worker_id text,
	is_xim boolean,
	is_stream boolean,
	input_tokens bigint,
	output_tokens bigint,
	cached_tokens bigint,
	reasoning_tokens bigint,
	cost_nano bigint,
	price_nano_per_mtok bigint,
	multiplier_bp integer,
	status_code integer,
	error_code text,
	fault text,
	finish_reason text,
	cut_by_client boolean,
	ttft_ms integer,
	latency_ms integer,
	queue_ms integer,
	router_us integer,
	retries integer,
	region text,
	created_at timestamp with time zone,
	hold_id text,
	held_nano bigint
);


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: audit_log; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_log (
    id text NOT NULL,
    project_id text,
    seq bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    actor_type text NOT NULL,
    actor_id text NOT NULL,
    action text NOT NULL,
    target_type text NOT NULL,
    target_id text NOT NULL,
    ip text,
    user_agent text,
    request_id text,
    before jsonb,
    after jsonb,
    prev_hash bytea NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_log_action_check CHECK ((action ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$'::text)),
    CONSTRAINT audit_log_actor_type_check CHECK ((actor_type = ANY (ARRAY['user'::text, 'key'::text, 'system'::text]))),
    CONSTRAINT audit_log_hash_check CHECK ((octet_length(hash) = 32)),
    CONSTRAINT audit_log_id_check CHECK ((id ~ '^aud_[0-9a-z]{24}$'::text)),
    CONSTRAINT audit_log_prev_hash_check CHECK ((octet_length(prev_hash) = 32)),
    CONSTRAINT audit_log_user_agent_check CHECK ((char_length(user_agent) <= 256))
);


--
-- Name: audit_canonical(public.audit_log); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.audit_canonical(entry public.audit_log) RETURNS text
    LANGUAGE sql STABLE
    AS $$
    SELECT jsonb_build_array(
        entry.id, entry.project_id, entry.seq, to_char(entry.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), entry.actor_type,
        entry.actor_id, entry.action, entry.target_type, entry.target_id, entry.ip, entry.user_agent, entry.request_id, entry.before,
        entry.after)::text
$$;


--
-- Name: audit_chain(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.audit_chain() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    name text := COALESCE(NEW.project_id, 'platform');
    genesis bytea := sha256(convert_to(COALESCE(NEW.project_id, 'platform'), 'UTF8'));
    head audit_heads;
BEGIN
    INSERT INTO audit_heads (chain, seq, hash, trimmed_seq, trimmed_hash) VALUES (name, 0, genesis, 0, genesis) ON CONFLICT DO NOTHING;
    SELECT * INTO head FROM audit_heads WHERE chain = name FOR UPDATE;
    NEW.seq := head.seq + 1;
    -- Not the transaction's time: rows that waited for the lock would seem to go back.
    NEW.at := clock_timestamp();
    NEW.prev_hash := head.hash;
    NEW.hash := sha256(head.hash || convert_to(audit_canonical(NEW), 'UTF8'));
    UPDATE audit_heads SET seq = NEW.seq, hash = NEW.hash WHERE chain = name;
    RETURN NEW;
END
$$;


--
-- Name: budget_check(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.budget_check() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    RETURN budget_fire(ARRAY(SELECT id FROM budgets WHERE deleted_at IS NULL), budget_clock());
END
$$;


--
-- Name: budget_clock(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.budget_clock() RETURNS timestamp with time zone
    LANGUAGE sql
    AS $$SELECT clock_timestamp()$$;


--
-- Name: budget_counts(text[], text[], text, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.budget_counts(endpoint_ids text[], api_key_ids text[], endpoint text, api_key text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT coalesce((endpoint_ids = '{}' OR endpoint = ANY (endpoint_ids)) AND (api_key_ids = '{}' OR api_key = ANY (api_key_ids)), false)
$$;


--
-- Name: budget_fire(text[], timestamp with time zone); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.budget_fire(ids text[], at timestamp with time zone) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    fired integer;
BEGIN
    WITH fired AS (
        INSERT INTO budget_history (
            id, budget_id, project_id, budget_name, threshold, spent_nano, amount_cents, period_start, period_end, hard_cap, fired_at, is_mail_due)
        SELECT 'alert_' || left(replace(gen_random_uuid()::text, '-', ''), 24), b.id, b.project_id, b.name, t.threshold, s.spent_nano,
            b.amount_cents, s.period_start, budget_period_end(b.period, at), b.hard_cap, at, 'email' = ANY (b.alert_channels)
        FROM budgets b
        JOIN budget_spending s ON s.budget_id = b.id AND s.period_start = budget_period_start(b.period, at)
        CROSS JOIN unnest(b.thresholds) t (threshold)
        WHERE b.id = ANY (ids) AND b.deleted_at IS NULL AND s.spent_nano >= b.amount_cents * 100000 * t.threshold
            AND NOT EXISTS (
                SELECT FROM budget_history h WHERE h.budget_id = b.id AND h.period_start = s.period_start AND h.threshold = t.threshold)
        -- In one order, so that two who fire the same wait for each other at most once.
        ORDER BY b.id, t.threshold
        ON CONFLICT (budget_id, period_start, threshold) DO NOTHING
        RETURNING *
    ), told AS (
        INSERT INTO outbox (id, project_id, kind, payload)
        SELECT 'evt_' || left(replace(gen_random_uuid()::text, '-', ''), 24), f.project_id, 'ox.budget_alert', jsonb_build_object(
            'budget_id', f.budget_id, 'budget_name', f.budget_name, 'project_id', f.project_id, 'threshold', f.threshold,
            'spent_cents', f.spent_nano / 10000000, 'budget_cents', f.amount_cents,
            'period_start', extract(epoch FROM f.period_start)::bigint, 'period_end', extract(epoch FROM f.period_end)::bigint,
            'hard_cap', f.hard_cap, 'fired_at', extract(epoch FROM f.fired_at)::bigint)
        FROM fired f ORDER BY f.budget_id, f.threshold
    )
    SELECT count(*) INTO fired FROM fired;
    RETURN fired;
END
$$;


--
-- Name: budget_period_end(text, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.budget_period_end(period text, at timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT (budget_period_start(period, at) AT TIME ZONE 'UTC'
        + CASE period WHEN 'monthly' THEN interval '1 month' WHEN 'weekly' THEN interval '1 week' ELSE interval '1 day' END) AT TIME ZONE 'UTC'
$$;


--
-- Name: budget_period_start(text, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.budget_period_start(period text, at timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT date_trunc(CASE period WHEN 'monthly' THEN 'month' WHEN 'weekly' THEN 'week' ELSE 'day' END, at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
$$;


--
-- Name: budget_room(text, text, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.budget_room(project text, endpoint text, api_key text, OUT room bigint, OUT budget text, OUT ends timestamp with time zone) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    AS $$
DECLARE
    at timestamptz := budget_clock();
BEGIN
    RETURN QUERY
    SELECT b.amount_cents * 100000 * b.cap_percent - coalesce(s.spent_nano, 0) - CASE
            WHEN b.endpoint_ids = '{}' AND b.api_key_ids = '{}'
            THEN (SELECT a.balance_nano FROM ledger_accounts a WHERE a.project_id = project AND a.kind = 'held' AND a.stripe = 0)
            ELSE (SELECT coalesce(sum(h.amount_nano - h.settled_nano), 0)::bigint FROM ledger_holds h
                  WHERE h.project_id = project AND h.state = 'open' AND budget_counts(b.endpoint_ids, b.api_key_ids, h.endpoint_id, h.api_key_id))
        END AS left_over, b.id, budget_period_end(b.period, at)
    FROM budgets b LEFT JOIN budget_spending s ON s.budget_id = b.id AND s.period_start = budget_period_start(b.period, at)
    WHERE b.project_id = project AND b.deleted_at IS NULL AND b.hard_cap AND budget_counts(b.endpoint_ids, b.api_key_ids, endpoint, api_key)
    ORDER BY left_over, b.id LIMIT 1;
END
$$;


--
-- Name: budget_spend(public.settled_request[], text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.budget_spend(batch public.settled_request[], stamp text) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    at timestamptz := budget_clock();
    grown text[];
BEGIN
    WITH paid AS MATERIALIZED (
        SELECT r.project_id, r.endpoint_id, r.api_key_id,
            r.cost_nano + coalesce((SELECT e.amount_nano FROM ledger_entries e WHERE e.tx_id = stamp || right(r.id, 10) AND e.seq = 5), 0) AS amount
        FROM unnest(batch) r WHERE r.cost_nano > 0
    ), more AS (
        INSERT INTO budget_spending AS s (budget_id, project_id, period_start, spent_nano)
        SELECT b.id, b.project_id, budget_period_start(b.period, at), sum(p.amount)::bigint
        FROM paid p JOIN budgets b ON b.project_id = p.project_id AND b.deleted_at IS NULL
            AND budget_counts(b.endpoint_ids, b.api_key_ids, p.endpoint_id, p.api_key_id)
        GROUP BY b.id
        ON CONFLICT (budget_id, period_start) DO UPDATE SET spent_nano = s.spent_nano + excluded.spent_nano
        RETURNING budget_id
    )
    SELECT array_agg(budget_id) INTO grown FROM more;
    IF grown IS NOT NULL THEN PERFORM budget_fire(grown, at); END IF;
END
$$;


--
-- Name: budgets_written(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.budgets_written() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    at timestamptz := budget_clock();
    start timestamptz := budget_period_start(NEW.period, at);
    is_counted boolean := TG_OP = 'INSERT';
    spent bigint;
    more bigint;
    seen pg_snapshot;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        is_counted := (OLD.period, OLD.endpoint_ids, OLD.api_key_ids) IS DISTINCT FROM (NEW.period, NEW.endpoint_ids, NEW.api_key_ids);
    END IF;
    IF TG_OP = 'INSERT' OR NEW.updated_at <> OLD.updated_at OR NEW.deleted_at IS DISTINCT FROM OLD.deleted_at THEN
        -- The long part without a lock, since settlements of all projects would wait for it.
        IF is_counted THEN
            SELECT coalesce(sum(u.cost_nano + coalesce(e.amount_nano, 0)), 0)::bigint, pg_current_snapshot() INTO spent, seen
            FROM usage_events u LEFT JOIN ledger_entries e ON e.tx_id = u.ledger_tx_id AND e.seq = 5
            WHERE u.project_id = NEW.project_id AND u.created_at >= start
                AND budget_counts(NEW.endpoint_ids, NEW.api_key_ids, u.endpoint_id, u.api_key_id);
        END IF;
        PERFORM ledger_lock(ARRAY[NEW.project_id]);
        IF TG_OP = 'INSERT' AND (SELECT count(*) FROM budgets WHERE project_id = NEW.project_id AND deleted_at IS NULL) > 20 THEN
            RAISE EXCEPTION 'The project has 20 budgets.' USING ERRCODE = 'check_violation', CONSTRAINT = 'budgets_per_project';
        END IF;
        IF is_counted THEN
            SELECT coalesce(sum(u.cost_nano + coalesce(e.amount_nano, 0)), 0)::bigint INTO more
            FROM usage_events u LEFT JOIN ledger_entries e ON e.tx_id = u.ledger_tx_id AND e.seq = 5
            WHERE u.xid >= pg_snapshot_xmin(seen) AND NOT pg_visible_in_snapshot(u.xid, seen)
                AND u.project_id = NEW.project_id AND u.created_at >= start
                AND budget_counts(NEW.endpoint_ids, NEW.api_key_ids, u.endpoint_id, u.api_key_id);
            INSERT INTO budget_spending (budget_id, project_id, period_start, spent_nano) VALUES (NEW.id, NEW.project_id, start, spent + more)
            ON CONFLICT (budget_id, period_start) DO UPDATE SET spent_nano = excluded.spent_nano;
        END IF;
        UPDATE ledger_accounts SET is_budgeted = EXISTS (SELECT FROM budgets WHERE project_id = NEW.project_id AND deleted_at IS NULL)
        WHERE project_id = NEW.project_id AND kind = 'held' AND stripe = 0;
        UPDATE projects SET budget_generation = budget_generation + 1 WHERE id = NEW.project_id;
    END IF;
    PERFORM budget_fire(ARRAY[NEW.id], at);
    RETURN NULL;
END
$$;


--
-- Name: create_usage_partitions(timestamp with time zone, integer); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.create_usage_partitions(first timestamp with time zone, months integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
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


--
-- Name: delete_usage_events(text, timestamp with time zone, bigint, integer); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.delete_usage_events(partition text, before timestamp with time zone, first_block bigint, blocks integer, OUT deleted bigint, OUT is_end boolean) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $_$
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
$_$;


--
-- Name: drop_usage_partitions(timestamp with time zone); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.drop_usage_partitions(before timestamp with time zone) RETURNS SETOF text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $_$
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
$_$;


--
-- Name: idempotency_keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.idempotency_keys (
    project_id text NOT NULL,
    scope text NOT NULL COLLATE pg_catalog."C",
    fingerprint bytea NOT NULL,
    request_id text NOT NULL,
    status smallint,
    answer bytea,
    lease_expires_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT idempotency_keys_check CHECK (((status IS NULL) OR (answer IS NOT NULL))),
    CONSTRAINT idempotency_keys_fingerprint_check CHECK ((octet_length(fingerprint) = 32)),
    CONSTRAINT idempotency_keys_scope_check CHECK ((octet_length(scope) = 43)),
    CONSTRAINT idempotency_keys_status_check CHECK (((status >= 200) AND (status <= 499)))
)
WITH (fillfactor='80');
ALTER TABLE ONLY public.idempotency_keys ALTER COLUMN answer SET STORAGE EXTERNAL;


--
-- Name: idempotency_claim(text, text, bytea, text, double precision, double precision); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.idempotency_claim(project text, key_scope text, body bytea, request text, lease double precision, kept double precision) RETURNS public.idempotency_keys
    LANGUAGE plpgsql
    AS $$
DECLARE
    mine idempotency_keys;
    found_row idempotency_keys;
BEGIN
    LOOP
        INSERT INTO idempotency_keys (project_id, scope, fingerprint, request_id, lease_expires_at)
        VALUES (project, key_scope, body, request, now() + make_interval(secs => lease))
        ON CONFLICT DO NOTHING RETURNING * INTO mine;
        IF FOUND THEN RETURN mine; END IF;

        UPDATE idempotency_keys
        SET fingerprint = body, request_id = request, status = NULL, answer = NULL, created_at = now(),
            lease_expires_at = now() + make_interval(secs => lease)
        WHERE project_id = project AND scope = key_scope
            AND ((created_at < now() - make_interval(secs => kept) AND (status IS NOT NULL OR lease_expires_at < now()))
                OR (status IS NULL AND lease_expires_at < now() AND fingerprint = body))
        RETURNING * INTO mine;
        IF FOUND THEN RETURN mine; END IF;

        SELECT * INTO found_row FROM idempotency_keys WHERE project_id = project AND scope = key_scope;
        IF FOUND THEN RETURN found_row; END IF;
        -- It was given back in between.
    END LOOP;
END
$$;


--
-- Name: idempotency_complete(text, text, text, integer, bytea); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.idempotency_complete(project text, key_scope text, request text, answer_status integer, sealed bytea) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE idempotency_keys SET status = answer_status, answer = sealed
    WHERE project_id = project AND scope = key_scope AND request_id = request AND status IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the request has lost its idempotency key' USING ERRCODE = 'XI001';
    END IF;
END
$$;


--
-- Name: jobs; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.jobs (
    id text NOT NULL COLLATE pg_catalog."C",
    project_id text COLLATE pg_catalog."C",
    queue text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL COLLATE pg_catalog."C",
    lane text NOT NULL COLLATE pg_catalog."C",
    priority smallint NOT NULL,
    unique_key text COLLATE pg_catalog."C",
    payload jsonb NOT NULL,
    state text NOT NULL COLLATE pg_catalog."C",
    run_at timestamp with time zone NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    max_attempts integer NOT NULL,
    generation bigint DEFAULT 0 NOT NULL,
    worker text,
    lease_expires_at timestamp with time zone,
    last_error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT jobs_check CHECK (((state = 'running'::text) = (lease_expires_at IS NOT NULL))),
    CONSTRAINT jobs_check1 CHECK (((state = ANY (ARRAY['done'::text, 'dead'::text])) = (ended_at IS NOT NULL))),
    CONSTRAINT jobs_id_check CHECK ((id ~ '^job_[0-9a-z]{24}$'::text)),
    CONSTRAINT jobs_lane_check CHECK ((lane <> ''::text)),
    CONSTRAINT jobs_max_attempts_check CHECK ((max_attempts >= 1)),
    CONSTRAINT jobs_priority_check CHECK (((priority >= 0) AND (priority <= 2))),
    CONSTRAINT jobs_queue_check CHECK ((queue ~ '^[a-z_]{1,32}$'::text)),
    CONSTRAINT jobs_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'ready'::text, 'running'::text, 'done'::text, 'dead'::text])))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.02');


--
-- Name: job_claim(text, text, integer, integer, integer, text, double precision); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.job_claim(from_queue text, after_lane text, most integer, most_in_lane integer, most_limited integer, worker_name text, lease double precision) RETURNS SETOF public.jobs
    LANGUAGE plpgsql
    AS $$
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


--
-- Name: ledger_apply(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.ledger_apply() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    is_balanced boolean;
    touched integer;
    moved integer;
BEGIN
    WITH change AS MATERIALIZED (
        SELECT account_id, sum(amount_nano)::bigint AS amount, array_agg(balance_after_nano) AS balances FROM written GROUP BY account_id
    ), moved AS (
        UPDATE ledger_accounts a SET balance_nano = a.balance_nano + c.amount, version = a.version + 1, updated_at = now()
        FROM change c WHERE a.id = c.account_id AND a.balance_nano + c.amount = ANY (c.balances)
        RETURNING a.id)
    SELECT NOT EXISTS (SELECT FROM written GROUP BY tx_id HAVING sum(amount_nano) <> 0 OR bool_or(amount_nano = 0)),
        (SELECT count(*) FROM change), (SELECT count(*) FROM moved)
    INTO is_balanced, touched, moved;
    IF NOT is_balanced THEN
        RAISE EXCEPTION 'The entries of a ledger transaction do not sum to 0, or one is 0.'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_entries_balanced';
    END IF;
    IF moved <> touched THEN
        RAISE EXCEPTION 'Entries do not lead from the balance of their account to the one they give.'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_entries_running';
    END IF;
    RETURN NULL;
END
$$;


--
-- Name: ledger_check_held(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.ledger_check_held() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    IF (SELECT balance_nano FROM ledger_accounts WHERE id = NEW.id)
        <> (SELECT coalesce(sum(amount_nano - settled_nano), 0) FROM ledger_holds WHERE project_id = NEW.project_id AND state = 'open')
    THEN
        RAISE EXCEPTION 'What is held is not the sum of the open holds.'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_held_is_open_holds';
    END IF;
    RETURN NULL;
END
$$;


--
-- Name: ledger_close(text[], public.ledger_hold_state); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.ledger_close(ids text[], new_state public.ledger_hold_state) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    closed integer;
BEGIN
    WITH given_back AS MATERIALIZED (
        SELECT h.id, 'le_' || substr(h.id, 6) AS tx, h.project_id, h.amount_nano - h.settled_nano AS rest, h.promo_nano AS promo
        FROM ledger_holds h
        WHERE h.id = ANY (ids) AND h.state = 'open' AND h.amount_nano > h.settled_nano
    ), booked AS (
        INSERT INTO ledger_transactions (id, idempotency_key, kind, project_id, reference)
        SELECT tx, 'release:' || id, 'release', project_id, id FROM given_back
    )
    INSERT INTO ledger_entries (tx_id, seq, account_id, amount_nano, balance_after_nano)
    SELECT tx, seq, account, change, balance + sum(change) OVER (PARTITION BY account ORDER BY id)
    FROM (
        SELECT g.id, g.tx, a.id AS account, a.balance_nano AS balance,
            CASE a.kind WHEN 'held' THEN 1 WHEN 'promo' THEN 2 ELSE 3 END AS seq,
            CASE a.kind WHEN 'held' THEN -g.rest WHEN 'promo' THEN g.promo ELSE g.rest - g.promo END AS change
        FROM given_back g JOIN ledger_accounts a ON a.project_id = g.project_id) e
    WHERE change <> 0;
    UPDATE ledger_holds SET state = new_state, updated_at = now() WHERE id = ANY (ids) AND state = 'open';
    GET DIAGNOSTICS closed = ROW_COUNT;
    RETURN closed;
END
$$;


--
-- Name: ledger_expire(integer); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.ledger_expire(most integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    due text[];
BEGIN
    due := ARRAY(SELECT id FROM ledger_holds WHERE state = 'open' AND expires_at < clock_timestamp() ORDER BY expires_at LIMIT most);
    IF cardinality(due) = 0 THEN RETURN 0; END IF;
    PERFORM ledger_lock(ARRAY(SELECT DISTINCT project_id FROM ledger_holds WHERE id = ANY (due)));
    -- What was renewed while we waited for the accounts lives on.
    due := ARRAY(
        SELECT id FROM ledger_holds WHERE id = ANY (due) AND state = 'open' AND expires_at < clock_timestamp()
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED);
    RETURN ledger_close(due, 'expired');
END
$$;


--
-- Name: ledger_hold(text, text, text, text, text, bigint, bigint, text, double precision, text, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.ledger_hold(hold text, new_kind text, request text, project text, gateway text, want bigint, least_amount bigint, key text, seconds double precision, endpoint text DEFAULT NULL::text, api_key text DEFAULT NULL::text, OUT granted bigint, OUT available bigint, OUT budget text, OUT budget_ends bigint) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    cash ledger_accounts;
    promo ledger_accounts;
    held ledger_accounts;
    existing ledger_holds;
    from_promo bigint;
    new_id text;
    cap record;
BEGIN
    PERFORM ledger_lock(ARRAY[project]);
    SELECT * INTO cash FROM ledger_accounts a WHERE a.project_id = project AND a.kind = 'cash';
    SELECT * INTO promo FROM ledger_accounts a WHERE a.project_id = project AND a.kind = 'promo';
    SELECT * INTO held FROM ledger_accounts a WHERE a.project_id = project AND a.kind = 'held';
    IF held.id IS NULL THEN
        RAISE EXCEPTION 'There is no project %.', project USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'ledger_project';
    END IF;
    available := greatest(0, promo.balance_nano + cash.balance_nano + cash.allow_negative_to_nano);
    SELECT e.amount_nano INTO granted FROM ledger_transactions t JOIN ledger_entries e ON e.tx_id = t.id
    WHERE t.idempotency_key = key AND e.account_id = held.id;
    IF granted IS NOT NULL THEN RETURN; END IF;
    SELECT * INTO existing FROM ledger_holds h WHERE h.id = hold FOR NO KEY UPDATE;
    IF existing.project_id <> project THEN
        RAISE EXCEPTION 'The hold % is another project''s.', hold USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'ledger_project';
    END IF;
    IF existing.id IS NOT NULL THEN
        endpoint := existing.endpoint_id;
        api_key := existing.api_key_id;
    END IF;
    IF held.is_budgeted THEN
        SELECT * INTO cap FROM budget_room(project, endpoint, api_key);
        IF cap.room < available THEN
            available := greatest(0, cap.room);
            budget := cap.budget;
            budget_ends := extract(epoch FROM cap.ends)::bigint;
        END IF;
    END IF;
    granted := least(want, available);
    IF granted <= 0 OR granted < least_amount OR existing.state <> 'open' THEN
        granted := 0;
        RETURN;
    END IF;
    available := available - granted;
    from_promo := least(promo.balance_nano, granted);
    IF existing.id IS NULL THEN
        INSERT INTO ledger_holds (id, project_id, kind, request_id, gateway_id, amount_nano, promo_nano, expires_at, endpoint_id, api_key_id)
        VALUES (hold, project, new_kind::ledger_hold_kind, request, gateway, granted, from_promo,
            clock_timestamp() + make_interval(secs => seconds), endpoint, api_key);
    ELSE
        UPDATE ledger_holds h SET amount_nano = h.amount_nano + granted, promo_nano = h.promo_nano + from_promo,
            expires_at = clock_timestamp() + make_interval(secs => seconds), updated_at = now()
        WHERE h.id = hold;
    END IF;
    new_id := ledger_new_id();
    INSERT INTO ledger_transactions (id, idempotency_key, kind, project_id, reference, created_by)
    VALUES (new_id, key, 'hold', project, hold, gateway);
    INSERT INTO ledger_entries (tx_id, seq, account_id, amount_nano, balance_after_nano)
    SELECT new_id, seq, e.account, e.change, e.balance + e.change
    FROM (VALUES (1, held.id, held.balance_nano, granted), (2, promo.id, promo.balance_nano, -from_promo),
                 (3, cash.id, cash.balance_nano, from_promo - granted)) e (seq, account, balance, change)
    WHERE e.change <> 0;
END
$$;


--
-- Name: ledger_lock(text[]); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.ledger_lock(projects text[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM FROM ledger_accounts WHERE project_id = ANY (projects) ORDER BY id FOR NO KEY UPDATE;
END
$$;


--
-- Name: ledger_new_id(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.ledger_new_id() RETURNS text
    LANGUAGE sql
    AS $$
    SELECT 'le_' || left(replace(gen_random_uuid()::text, '-', ''), 24)
$$;


--
-- Name: ledger_open_accounts(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.ledger_open_accounts() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    INSERT INTO ledger_accounts (project_id, kind) VALUES (NEW.id, 'cash'), (NEW.id, 'promo'), (NEW.id, 'held');
    RETURN NULL;
END
$$;


--
-- Name: ledger_post(text, text, bigint, text, text, text, text, boolean); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.ledger_post(new_kind text, project text, amount bigint, key text, new_reference text, new_memo text, author text, is_manual boolean, OUT id text, OUT is_new boolean) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    counter ledger_accounts;
    write_off ledger_accounts;
    own ledger_accounts;
    taken bigint := amount;
    known ledger_transactions;
BEGIN
    IF amount = 0 OR (new_kind IN ('topup', 'grant') AND amount < 0) OR (new_kind IN ('refund', 'chargeback', 'expire_promo') AND amount > 0)
    THEN
        RAISE EXCEPTION 'An amount of % does not suit a %.', amount, new_kind
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_post_amount';
    END IF;
    -- Stripe 7 of 0 to 7: where the fewest gateways are. The counter account before the project's, write_off in between.
    SELECT * INTO counter FROM ledger_accounts a
    WHERE a.project_id IS NULL AND a.stripe = 7 AND a.kind = CASE new_kind
        WHEN 'topup' THEN 'payments_clearing' WHEN 'chargeback' THEN 'payments_clearing' WHEN 'grant' THEN 'grants'
        WHEN 'expire_promo' THEN 'grants' WHEN 'refund' THEN 'refunds' WHEN 'adjust' THEN 'write_off' END::ledger_account_kind
    FOR NO KEY UPDATE;
    IF counter.id IS NULL THEN
        RAISE EXCEPTION 'A % is not posted this way.', new_kind USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_post_kind';
    END IF;
    IF new_kind = 'chargeback' THEN
        SELECT * INTO write_off FROM ledger_accounts a WHERE a.project_id IS NULL AND a.stripe = 7 AND a.kind = 'write_off' FOR NO KEY UPDATE;
    END IF;
    PERFORM ledger_lock(ARRAY[project]);
    SELECT * INTO known FROM ledger_transactions t WHERE t.idempotency_key = key;
    IF known.id IS NOT NULL THEN
        IF known.project_id IS DISTINCT FROM project OR known.kind::text <> new_kind
            OR NOT EXISTS (SELECT FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id
                           WHERE e.tx_id = known.id AND a.project_id IS NULL GROUP BY e.tx_id HAVING sum(e.amount_nano) = -amount)
               AND new_kind <> 'chargeback' THEN
            RAISE EXCEPTION 'The key % belongs to another transaction.', key
                USING ERRCODE = 'unique_violation', CONSTRAINT = 'ledger_post_key';
        END IF;
        id := known.id;
        is_new := false;
        RETURN;
    END IF;
    IF is_manual AND (SELECT ledger_frozen FROM projects p WHERE p.id = project) THEN
        RAISE EXCEPTION 'The ledger of the project is frozen.' USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_frozen';
    END IF;
    SELECT * INTO own FROM ledger_accounts a
    WHERE a.project_id = project AND a.kind = (CASE WHEN new_kind IN ('grant', 'expire_promo') THEN 'promo' ELSE 'cash' END)::ledger_account_kind;
    IF own.id IS NULL THEN
        RAISE EXCEPTION 'There is no project %.', project USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'ledger_project';
    END IF;
    IF new_kind = 'chargeback' THEN taken := greatest(amount, -greatest(own.balance_nano, 0)); END IF;
    id := ledger_new_id();
    is_new := true;
    INSERT INTO ledger_transactions (id, idempotency_key, kind, project_id, reference, memo, created_by)
    VALUES (ledger_post.id, key, new_kind::ledger_kind, project, new_reference, new_memo, author);
    INSERT INTO ledger_entries (tx_id, seq, account_id, amount_nano, balance_after_nano)
    SELECT ledger_post.id, seq, e.account, e.change, e.balance + e.change
    FROM (VALUES (1, own.id, own.balance_nano, taken), (2, counter.id, counter.balance_nano, -amount),
                 (3, write_off.id, write_off.balance_nano, amount - taken)) e (seq, account, balance, change)
    WHERE e.change <> 0 AND e.account IS NOT NULL;
END
$$;


--
-- Name: ledger_refuse(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.ledger_refuse() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'The ledger only grows: % on % is refused.', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;


--
-- Name: ledger_release(text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.ledger_release(hold text) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    PERFORM ledger_lock(ARRAY(SELECT project_id FROM ledger_holds WHERE id = hold));
    PERFORM FROM ledger_holds WHERE id = hold FOR NO KEY UPDATE;
    RETURN ledger_close(ARRAY[hold], 'released');
END
$$;


--
-- Name: ledger_renew(text[], double precision); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.ledger_renew(ids text[], seconds double precision) RETURNS SETOF text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    PERFORM FROM ledger_holds WHERE id = ANY (ids) ORDER BY id FOR NO KEY UPDATE;
    UPDATE ledger_holds SET expires_at = clock_timestamp() + make_interval(secs => seconds), updated_at = now()
    WHERE id = ANY (ids) AND state = 'open';
    RETURN QUERY SELECT i FROM unnest(ids) i WHERE NOT EXISTS (SELECT FROM ledger_holds h WHERE h.id = i AND h.state = 'open');
END
$$;


--
-- Name: ledger_settle(public.settled_request[], integer, boolean); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.ledger_settle(batch public.settled_request[], process integer, is_replay boolean) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
DECLARE
    is_sound boolean;
    is_covered boolean;
    projects text[];
    holds text[];
    amounts bigint[];
    covering integer;
    ending text[];
    revenue bigint;
    revenue_balance bigint;
    write_off bigint;
    write_off_balance bigint;
    -- The accounts `held` of all projects of the batch.
    held_projects text[];
    held_accounts bigint[];
    held_balances bigint[];
    has_budgets boolean;
    -- What the identifiers of this batch's transactions begin with; ten characters of the request's follow.
    stamp text := 'le_' || lpad(to_hex((extract(epoch FROM now()) * 1000000)::bigint), 14, '0');
BEGIN
    SELECT
        bool_and(least(input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost_nano, price_nano_per_mtok, multiplier_bp, held_nano) >= 0),
        bool_and(cost_nano = 0 OR (hold_id IS NOT NULL AND cost_nano <= held_nano)),
        array_agg(DISTINCT project_id) FILTER (WHERE cost_nano > 0 OR hold_id IS NOT NULL)
    INTO is_sound, is_covered, projects FROM unnest(batch);
    IF NOT is_sound THEN
        RAISE EXCEPTION 'A usage row has a negative amount.' USING ERRCODE = 'check_violation', CONSTRAINT = 'usage_events_not_negative';
    END IF;
    IF projects IS NOT NULL THEN
        WITH locked AS MATERIALIZED (
            SELECT id, project_id, kind, balance_nano, is_budgeted FROM ledger_accounts
            WHERE project_id = ANY (projects) OR (project_id IS NULL AND kind IN ('revenue', 'write_off') AND stripe = process % 8)
            ORDER BY id FOR NO KEY UPDATE)
        SELECT max(id) FILTER (WHERE kind = 'revenue'), max(balance_nano) FILTER (WHERE kind = 'revenue'),
            max(id) FILTER (WHERE kind = 'write_off'), max(balance_nano) FILTER (WHERE kind = 'write_off'),
            array_agg(project_id) FILTER (WHERE kind = 'held'), array_agg(id) FILTER (WHERE kind = 'held'),
            array_agg(balance_nano) FILTER (WHERE kind = 'held'), bool_or(is_budgeted)
        INTO revenue, revenue_balance, write_off, write_off_balance, held_projects, held_accounts, held_balances, has_budgets FROM locked;
    END IF;
    IF is_replay THEN
        batch := ARRAY(
            SELECT r FROM unnest(batch) r
            WHERE NOT EXISTS (
                SELECT FROM usage_events u WHERE u.request_id = r.request_id AND u.id = r.id AND u.created_at = r.created_at));
    END IF;
    INSERT INTO usage_events (
        id, project_id, endpoint_id, endpoint_slug, model_id, model_name, model_version, api_key_id, user_id, request_id, surface,
        service_tier, tier, worker_id, is_xim, is_stream, input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost_nano,
        price_nano_per_mtok, multiplier_bp, status_code, error_code, fault, finish_reason, cut_by_client, ttft_ms, latency_ms, queue_ms,
        router_us, retries, region, created_at, ledger_tx_id)
    SELECT
        id, project_id, endpoint_id, endpoint_slug, model_id, model_name, model_version, api_key_id, user_id, request_id, surface,
        service_tier, tier, worker_id, is_xim, is_stream, input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost_nano,
        price_nano_per_mtok, multiplier_bp, status_code, error_code, fault, finish_reason, cut_by_client, ttft_ms, latency_ms, queue_ms,
        router_us, retries, region, created_at, CASE WHEN cost_nano > 0 THEN stamp || right(id, 10) END
    FROM unnest(batch);
    IF projects IS NULL THEN RETURN; END IF;

    SELECT array_agg(hold_id), array_agg(amount) INTO holds, amounts FROM (
        SELECT hold_id, sum(cost_nano)::bigint AS amount FROM unnest(batch) WHERE hold_id IS NOT NULL GROUP BY hold_id, project_id) h;
    IF holds IS NOT NULL THEN
        WITH locked AS MATERIALIZED (
            SELECT h.id, h.kind, h.amount_nano - h.settled_nano >= n.amount AND h.project_id = ANY (projects) AS is_covering
            FROM unnest(holds, amounts) n (id, amount) JOIN ledger_holds h ON h.id = n.id AND h.state = 'open'
            ORDER BY h.id FOR NO KEY UPDATE OF h)
        SELECT count(*) FILTER (WHERE is_covering), array_agg(id) FILTER (WHERE kind = 'request') INTO covering, ending FROM locked;
    END IF;

    IF is_covered AND covering = cardinality(holds) THEN
        -- The usual: open holds cover all of it.
        UPDATE ledger_holds h SET settled_nano = h.settled_nano + n.amount, promo_nano = greatest(0, h.promo_nano - n.amount), updated_at = now()
        FROM unnest(holds, amounts) n (id, amount) WHERE h.id = n.id AND n.amount > 0;
        INSERT INTO ledger_transactions (id, idempotency_key, kind, project_id, reference)
        SELECT stamp || right(id, 10), 'settle:' || id, 'settle', project_id, request_id FROM unnest(batch) WHERE cost_nano > 0;
        INSERT INTO ledger_entries (tx_id, seq, account_id, amount_nano, balance_after_nano)
        SELECT tx, seq, account, change, balance + sum(change) OVER (PARTITION BY account ORDER BY n)
        FROM (
            SELECT r.ordinality AS n, stamp || right(r.id, 10) AS tx, e.seq, e.account, e.balance, e.change
            FROM unnest(batch) WITH ORDINALITY r
            JOIN unnest(held_projects, held_accounts, held_balances) held (project_id, id, balance) ON held.project_id = r.project_id,
            LATERAL (VALUES (1, held.id, held.balance, -r.cost_nano), (2, revenue, revenue_balance, r.cost_nano)) e (seq, account, balance, change)
            WHERE r.cost_nano > 0) p;
        IF ending IS NOT NULL THEN PERFORM ledger_close(ending, 'settled'); END IF;
        IF has_budgets THEN PERFORM budget_spend(batch, stamp); END IF;
        RETURN;
    END IF;

    WITH request AS MATERIALIZED (
        SELECT r.ordinality AS n, stamp || right(r.id, 10) AS tx, r.id, r.request_id, r.project_id, r.endpoint_id, r.api_key_id, r.cost_nano AS cost,
            h.id AS hold, CASE WHEN h.id IS NULL THEN 0 ELSE least(r.cost_nano, r.held_nano) END AS wish, h.amount_nano - h.settled_nano AS rest
        FROM unnest(batch) WITH ORDINALITY r
        LEFT JOIN ledger_holds h ON h.id = r.hold_id AND h.project_id = r.project_id AND h.state = 'open'
        WHERE r.cost_nano > 0
    ), covered AS MATERIALIZED (
        -- Running sums share a hold out in the order of the batch: what this request finds in it is what it takes of it.
        SELECT *, (CASE WHEN hold IS NULL THEN 0 ELSE least(rest, sum(wish) OVER w) - least(rest, sum(wish) OVER w - wish) END)::bigint AS from_hold
        FROM request WINDOW w AS (PARTITION BY hold ORDER BY n)
    ), spent AS (
        UPDATE ledger_holds h SET settled_nano = h.settled_nano + c.amount, promo_nano = greatest(0, h.promo_nano - c.amount), updated_at = now()
        FROM (SELECT hold, sum(from_hold)::bigint AS amount FROM covered WHERE from_hold > 0 GROUP BY hold) c WHERE h.id = c.hold
    ), booked AS (
        INSERT INTO ledger_transactions (id, idempotency_key, kind, project_id, reference)
        SELECT tx, 'settle:' || id, 'settle', project_id, request_id FROM covered
    ), excess AS MATERIALIZED (
        SELECT c.n, c.tx, c.cost - c.from_hold AS excess, sum(c.cost - c.from_hold) OVER (PARTITION BY c.project_id ORDER BY n) AS upto,
            cash.id AS cash, cash.balance_nano AS cash_balance, l.cash_there,
            promo.id AS promo, promo.balance_nano AS promo_balance, least(promo.balance_nano, l.room - l.cash_there) AS promo_there
        FROM covered c
        JOIN ledger_accounts cash ON cash.project_id = c.project_id AND cash.kind = 'cash' AND cash.stripe = 0
        JOIN ledger_accounts promo ON promo.project_id = c.project_id AND promo.kind = 'promo' AND promo.stripe = 0,
        -- What no hold covers is paid only as far as hard caps leave room.
        LATERAL (SELECT CASE WHEN has_budgets
            THEN greatest(0, coalesce((SELECT r.room FROM budget_room(c.project_id, c.endpoint_id, c.api_key_id) r), 9223372036854775807))
            ELSE 9223372036854775807 END AS room) m,
        LATERAL (SELECT m.room, least(greatest(0, cash.balance_nano + cash.allow_negative_to_nano), m.room) AS cash_there) l
        WHERE c.cost > c.from_hold
    ), shared AS MATERIALIZED (
        SELECT *,
            (least(cash_there, upto) - least(cash_there, upto - excess))::bigint AS from_cash,
            (least(promo_there, greatest(0, upto - cash_there)) - least(promo_there, greatest(0, upto - excess - cash_there)))::bigint AS from_promo
        FROM excess
    ), posting AS (
        SELECT c.n, c.tx, 1 AS seq, held.id AS account, held.balance_nano AS balance, -c.from_hold AS change
        FROM covered c JOIN ledger_accounts held ON held.project_id = c.project_id AND held.kind = 'held' AND held.stripe = 0
        UNION ALL SELECT n, tx, 2, revenue, revenue_balance, cost FROM covered
        UNION ALL SELECT n, tx, 3, cash, cash_balance, -from_cash FROM shared
        UNION ALL SELECT n, tx, 4, promo, promo_balance, -from_promo FROM shared
        UNION ALL SELECT n, tx, 5, write_off, write_off_balance, from_cash + from_promo - excess FROM shared
    )
    INSERT INTO ledger_entries (tx_id, seq, account_id, amount_nano, balance_after_nano)
    SELECT tx, seq, account, change, balance + sum(change) OVER (PARTITION BY account ORDER BY n) FROM posting WHERE change <> 0;

    IF ending IS NOT NULL THEN PERFORM ledger_close(ending, 'settled'); END IF;
    IF has_budgets THEN PERFORM budget_spend(batch, stamp); END IF;
END
$$;


--
-- Name: outbox_fans_out(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.outbox_fans_out() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
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


--
-- Name: refuse_audit_change(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.refuse_audit_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    -- No role but the owner may delete at all; this keeps the owner from doing it by mistake.
    IF TG_OP = 'DELETE' AND current_setting('xerotier.trims_audit', true) = 'yes' THEN RETURN NULL; END IF;
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;


--
-- Name: restart_usage_rollups(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.restart_usage_rollups() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    -- No row may come in between.
    LOCK TABLE usage_events IN SHARE ROW EXCLUSIVE MODE;
    UPDATE usage_events SET xid = '3';
    UPDATE usage_progress SET watermark = usage_horizon();
END
$$;


--
-- Name: trim_audit_log(timestamp with time zone, integer); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.trim_audit_log(older_than timestamp with time zone, most integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    head audit_heads;
    last_seq bigint;
    last_hash bytea;
    lines bigint;
    wanted bigint := most;
BEGIN
    PERFORM set_config('xerotier.trims_audit', 'yes', true);
    FOR head IN
        SELECT h.* FROM audit_heads h JOIN audit_log a
            ON (a.project_id = h.chain OR (h.chain = 'platform' AND a.project_id IS NULL)) AND a.seq = h.trimmed_seq + 1
        WHERE a.at < older_than FOR UPDATE OF h SKIP LOCKED
    LOOP
        EXIT WHEN wanted <= 0;
        SELECT seq, hash INTO last_seq, last_hash FROM audit_log
        WHERE (project_id = head.chain OR (head.chain = 'platform' AND project_id IS NULL)) AND seq <= head.trimmed_seq + wanted AND at < older_than ORDER BY seq DESC LIMIT 1;
        SELECT count(*) INTO lines FROM audit_log WHERE (project_id = head.chain OR (head.chain = 'platform' AND project_id IS NULL)) AND seq <= last_seq;
        CONTINUE WHEN lines <> last_seq - head.trimmed_seq;
        UPDATE audit_heads SET trimmed_seq = last_seq, trimmed_hash = last_hash WHERE chain = head.chain;
        DELETE FROM audit_log WHERE (project_id = head.chain OR (head.chain = 'platform' AND project_id IS NULL)) AND seq <= last_seq;
        wanted := wanted - lines;
    END LOOP;
    PERFORM set_config('xerotier.trims_audit', '', true);
    RETURN most - wanted;
END
$$;


--
-- Name: usage_bucket(integer); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.usage_bucket(milliseconds integer) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT CASE WHEN milliseconds IS NOT NULL
        THEN least(255, floor(ln(greatest(milliseconds, 0)::double precision + 1) / ln(1.1::double precision))::integer) END
$$;


--
-- Name: usage_events; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.usage_events (
    id text NOT NULL,
    project_id text NOT NULL,
    endpoint_id text,
    endpoint_slug text,
    model_id text,
    model_name text,
    model_version text,
    api_key_id text,
    user_id text,
    request_id text NOT NULL,
    surface text NOT NULL,
    service_tier text NOT NULL,
    tier text NOT NULL,
    worker_id text,
    is_xim boolean NOT NULL,
    is_stream boolean NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    cost_nano bigint NOT NULL,
    price_nano_per_mtok bigint NOT NULL,
    multiplier_bp integer NOT NULL,
    status_code integer NOT NULL,
    error_code text,
    fault text NOT NULL,
    finish_reason text,
    cut_by_client boolean NOT NULL,
    ttft_ms integer,
    latency_ms integer NOT NULL,
    queue_ms integer NOT NULL,
    router_us integer NOT NULL,
    retries integer NOT NULL,
    region text,
    ledger_tx_id text,
    created_at timestamp with time zone NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL
)
PARTITION BY RANGE (created_at);


--
-- Name: usage_events_past_watermark(text, timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.usage_events_past_watermark(project text, first timestamp with time zone, before timestamp with time zone) RETURNS SETOF public.usage_events
    LANGUAGE plpgsql STABLE
    AS $$
DECLARE
    mark xid8;
BEGIN
    SELECT watermark INTO mark FROM usage_progress;
    RETURN QUERY EXECUTE format(
        'SELECT * FROM usage_events WHERE project_id = %L AND xid >= %L::xid8 AND created_at >= %L::timestamptz AND created_at < %L::timestamptz',
        project, mark, first, before);
END
$$;


--
-- Name: usage_histogram(bytea); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.usage_histogram(merged bytea) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
    SELECT coalesce(string_agg(set_byte('\x00', 0, bucket) || int8send(count), ''::bytea ORDER BY bucket), ''::bytea)
    FROM (
        SELECT get_byte(merged, n) AS bucket, sum(('x' || encode(substr(merged, n + 2, 8), 'hex'))::bit(64)::bigint)::bigint AS count
        FROM generate_series(0, octet_length(merged) - 9, 9) AS n
        GROUP BY 1) b
    WHERE count <> 0
$$;


--
-- Name: usage_histogram(integer, bigint); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.usage_histogram(bucket integer, count bigint) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT CASE WHEN bucket IS NULL THEN ''::bytea ELSE set_byte('\x00', 0, bucket) || int8send(count) END
$$;


--
-- Name: usage_horizon(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.usage_horizon() RETURNS xid8
    LANGUAGE sql STABLE
    AS $$ SELECT pg_snapshot_xmin(pg_current_snapshot()) $$;


--
-- Name: usual_tiers(jsonb, boolean); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.usual_tiers(accelerators jsonb, is_shared boolean) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT CASE WHEN NOT is_shared THEN ARRAY['self_hosted'] ELSE ARRAY(
        SELECT tier FROM (
            SELECT place, CASE lower(device->>'kind')
                WHEN 'cuda' THEN 'gpu_nvidia_shared'
                WHEN 'rocm' THEN 'gpu_amd_shared'
                WHEN 'oneapi' THEN 'gpu_intel_shared'
                WHEN 'xpu' THEN 'gpu_intel_shared'
                WHEN 'zendnn' THEN 'cpu_amd_optimized'
                WHEN 'cpu' THEN CASE
                    WHEN device->>'name' LIKE '%AMD%' THEN 'cpu_amd_optimized'
                    WHEN device->>'name' LIKE '%Intel%' THEN 'cpu_intel_optimized' END
                END AS tier
            FROM jsonb_array_elements(accelerators) WITH ORDINALITY AS devices (device, place)) AS devices
        WHERE tier IS NOT NULL GROUP BY tier ORDER BY min(place)) || 'free'::text END
$$;


--
-- Name: webhook_deliver(text, text, text, text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.webhook_deliver(project text, webhook text, event text, kind text) RETURNS text
    LANGUAGE plpgsql
    AS $$
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


--
-- Name: webhook_forgets_lane(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.webhook_forgets_lane() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    DELETE FROM job_lanes WHERE queue = 'webhooks' AND lane = new.id;
    RETURN NULL;
END
$$;


--
-- Name: webhook_wants(text[], text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.webhook_wants(events text[], kind text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT events && ARRAY['*', kind, split_part(kind, '.', 1) || '.*'] OR (kind = 'exec.dispatched' AND 'exec.started' = ANY (events))
$$;


--
-- Name: agent_events; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.agent_events (
    id text NOT NULL COLLATE pg_catalog."C",
    project_id text COLLATE pg_catalog."C",
    agent_id text NOT NULL COLLATE pg_catalog."C",
    type text NOT NULL,
    reason text,
    actor_id text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT agent_events_id_check CHECK ((id ~ '^agev_[0-9a-z]{24}$'::text)),
    CONSTRAINT agent_events_reason_check CHECK ((char_length(reason) <= 256)),
    CONSTRAINT agent_events_type_check CHECK ((type ~ '^agent\.[a-z_]{1,40}$'::text))
);


--
-- Name: agents; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.agents (
    id text NOT NULL COLLATE pg_catalog."C",
    project_id text COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    role text NOT NULL,
    region text NOT NULL,
    curve_public_key text NOT NULL COLLATE pg_catalog."C",
    signing_public_key bytea NOT NULL,
    hostname text,
    agent_version text NOT NULL,
    platform jsonb NOT NULL,
    accelerators jsonb NOT NULL,
    max_concurrent_requests integer NOT NULL,
    supported_tiers text[],
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_heartbeat_at timestamp with time zone,
    revoked_at timestamp with time zone,
    worker_id text NOT NULL COLLATE pg_catalog."C",
    description text,
    storage_limit_enabled boolean DEFAULT false NOT NULL,
    storage_limit_bytes bigint,
    suspended_at timestamp with time zone,
    drain_until timestamp with time zone,
    credentials_revoked_at timestamp with time zone,
    previous_curve_key text COLLATE pg_catalog."C",
    previous_curve_key_until timestamp with time zone,
    rotation_nonce bytea,
    rotation_reason text,
    is_online boolean DEFAULT false NOT NULL,
    lease_until timestamp with time zone,
    in_flight integer DEFAULT 0 NOT NULL,
    models jsonb DEFAULT '[]'::jsonb NOT NULL,
    awaits_approval boolean DEFAULT false NOT NULL,
    served_tiers text[] GENERATED ALWAYS AS (COALESCE(supported_tiers, public.usual_tiers(accelerators, (project_id IS NULL)))) STORED NOT NULL,
    CONSTRAINT agents_agent_version_check CHECK (((char_length(agent_version) >= 1) AND (char_length(agent_version) <= 64))),
    CONSTRAINT agents_curve_public_key_check CHECK ((char_length(curve_public_key) = 40)),
    CONSTRAINT agents_description_check CHECK ((char_length(description) <= 512)),
    CONSTRAINT agents_hostname_check CHECK ((char_length(hostname) <= 255)),
    CONSTRAINT agents_id_check CHECK ((id ~ '^agt_[0-9a-z]{24}$'::text)),
    CONSTRAINT agents_in_flight_check CHECK ((in_flight >= 0)),
    CONSTRAINT agents_max_concurrent_requests_check CHECK (((max_concurrent_requests >= 0) AND (max_concurrent_requests <= 4096))),
    CONSTRAINT agents_name_check CHECK ((name ~ '^[a-z0-9][a-z0-9-]{0,47}$'::text)),
    CONSTRAINT agents_previous_curve_key_check CHECK ((char_length(previous_curve_key) = 40)),
    CONSTRAINT agents_region_check CHECK ((region ~ '^[!-9;-~]{1,24}$'::text)),
    CONSTRAINT agents_role_check CHECK ((role = ANY (ARRAY['inference'::text, 'execution'::text]))),
    CONSTRAINT agents_rotation_nonce_check CHECK ((octet_length(rotation_nonce) = 32)),
    CONSTRAINT agents_rotation_reason_check CHECK ((char_length(rotation_reason) <= 256)),
    CONSTRAINT agents_signing_public_key_check CHECK ((octet_length(signing_public_key) = 32)),
    CONSTRAINT agents_storage_limit_bytes_check CHECK (((storage_limit_bytes >= 0) AND (storage_limit_bytes <= '1125899906842624'::bigint))),
    CONSTRAINT agents_supported_tiers_check CHECK (((cardinality(supported_tiers) >= 1) AND (cardinality(supported_tiers) <= 16)))
);


--
-- Name: api_keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.api_keys (
    id text NOT NULL,
    project_id text NOT NULL,
    name text NOT NULL,
    prefix text NOT NULL,
    key_hash bytea NOT NULL,
    previous_key_hash bytea,
    grace_expires_at timestamp with time zone,
    scopes text[] NOT NULL,
    endpoint text,
    ip_filter jsonb,
    quota jsonb,
    is_service boolean DEFAULT false NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    created_by text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    last_used_at timestamp with time zone,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    CONSTRAINT api_keys_check CHECK (((previous_key_hash IS NULL) = (grace_expires_at IS NULL))),
    CONSTRAINT api_keys_check1 CHECK ((is_active = (revoked_at IS NULL))),
    CONSTRAINT api_keys_id_check CHECK ((id ~ '^key_[0-9a-z]{24}$'::text)),
    CONSTRAINT api_keys_key_hash_check CHECK ((octet_length(key_hash) = 32)),
    CONSTRAINT api_keys_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 64))),
    CONSTRAINT api_keys_previous_key_hash_check CHECK ((octet_length(previous_key_hash) = 32)),
    CONSTRAINT api_keys_scopes_check CHECK (((scopes <@ ARRAY['inference'::text, 'management'::text, 'execution'::text]) AND (cardinality(scopes) > 0)))
);


--
-- Name: audit_heads; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_heads (
    chain text NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    trimmed_seq bigint NOT NULL,
    trimmed_hash bytea NOT NULL
);


--
-- Name: budget_history; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.budget_history (
    id text NOT NULL COLLATE pg_catalog."C",
    budget_id text NOT NULL COLLATE pg_catalog."C",
    project_id text NOT NULL COLLATE pg_catalog."C",
    budget_name text NOT NULL,
    threshold integer NOT NULL,
    spent_nano bigint NOT NULL,
    amount_cents bigint NOT NULL,
    period_start timestamp with time zone NOT NULL,
    period_end timestamp with time zone NOT NULL,
    hard_cap boolean NOT NULL,
    fired_at timestamp with time zone NOT NULL,
    is_mail_due boolean NOT NULL
);


--
-- Name: budget_spending; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.budget_spending (
    budget_id text NOT NULL COLLATE pg_catalog."C",
    project_id text NOT NULL COLLATE pg_catalog."C",
    period_start timestamp with time zone NOT NULL,
    spent_nano bigint NOT NULL,
    CONSTRAINT budget_spending_spent_nano_check CHECK ((spent_nano >= 0))
)
WITH (fillfactor='50');


--
-- Name: budgets; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.budgets (
    id text NOT NULL COLLATE pg_catalog."C",
    project_id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    amount_cents bigint NOT NULL,
    period text NOT NULL,
    endpoint_ids text[] NOT NULL,
    api_key_ids text[] NOT NULL,
    thresholds integer[] NOT NULL,
    alert_channels text[] NOT NULL,
    webhook_url text,
    hard_cap boolean NOT NULL,
    cap_percent integer NOT NULL,
    created_by text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    checked_at timestamp with time zone,
    deleted_at timestamp with time zone,
    CONSTRAINT budgets_alert_channels_check CHECK ((alert_channels <@ '{email,webhook}'::text[])),
    CONSTRAINT budgets_amount_cents_check CHECK (((amount_cents >= 1) AND (amount_cents <= '100000000000'::bigint))),
    CONSTRAINT budgets_cap_percent_check CHECK (((cap_percent >= 100) AND (cap_percent <= 200))),
    CONSTRAINT budgets_check CHECK (((webhook_url IS NOT NULL) OR (NOT ('webhook'::text = ANY (alert_channels))))),
    CONSTRAINT budgets_id_check CHECK ((id ~ '^bud_[0-9a-z]{24}$'::text)),
    CONSTRAINT budgets_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 64))),
    CONSTRAINT budgets_period_check CHECK ((period = ANY (ARRAY['monthly'::text, 'weekly'::text, 'daily'::text]))),
    CONSTRAINT budgets_thresholds_check CHECK (((cardinality(thresholds) <= 10) AND (1 <= ALL (thresholds)) AND (100 >= ALL (thresholds))))
);


--
-- Name: daily_usage_rollups; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.daily_usage_rollups (
    project_id text NOT NULL,
    day date NOT NULL,
    endpoint_slug text DEFAULT ''::text NOT NULL,
    model_name text DEFAULT ''::text NOT NULL,
    surface text NOT NULL,
    service_tier text NOT NULL,
    api_key_id text DEFAULT ''::text NOT NULL,
    is_xim boolean NOT NULL,
    requests bigint NOT NULL,
    errors_client bigint NOT NULL,
    errors_agent bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    cost_nano bigint NOT NULL,
    latency_hist bytea NOT NULL,
    ttft_hist bytea NOT NULL,
    first_event_at timestamp with time zone,
    last_event_at timestamp with time zone,
    revision integer DEFAULT 1 NOT NULL,
    updated_at timestamp with time zone NOT NULL
);


--
-- Name: data_keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.data_keys (
    id text NOT NULL,
    project_id text NOT NULL,
    wrapped_key bytea,
    master_key_id text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    rewrapped_at timestamp with time zone,
    retired_at timestamp with time zone,
    destroyed_at timestamp with time zone,
    CONSTRAINT data_keys_check CHECK (((wrapped_key IS NULL) = (destroyed_at IS NOT NULL))),
    CONSTRAINT data_keys_check1 CHECK (((destroyed_at IS NULL) OR (retired_at IS NOT NULL))),
    CONSTRAINT data_keys_id_check CHECK ((id ~ '^dk_[0-9a-z]{24}$'::text)),
    CONSTRAINT data_keys_master_key_id_check CHECK ((master_key_id ~ '^[0-9a-f]{16}$'::text)),
    CONSTRAINT data_keys_wrapped_key_check CHECK ((octet_length(wrapped_key) = 60))
);


--
-- Name: endpoints; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.endpoints (
    id text NOT NULL,
    project_id text NOT NULL,
    slug text NOT NULL,
    aliases text[] DEFAULT '{}'::text[] NOT NULL,
    name text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    model_id text NOT NULL,
    model_version text DEFAULT 'latest'::text NOT NULL,
    active_version text,
    tier text NOT NULL,
    task_mode text DEFAULT 'generate'::text NOT NULL,
    status text NOT NULL,
    status_detail text,
    generation bigint DEFAULT 1 NOT NULL,
    upstream_urls text[] DEFAULT '{}'::text[] NOT NULL,
    upstream_model text,
    upstream_api text DEFAULT 'openai'::text NOT NULL,
    upstream_api_key bytea,
    upstream_timeout_ms integer DEFAULT 300000 NOT NULL,
    upstream_health_path text DEFAULT '/v1/models'::text NOT NULL,
    upstream_headers jsonb DEFAULT '{}'::jsonb NOT NULL,
    upstream_max_concurrent integer DEFAULT 32 NOT NULL,
    placement jsonb DEFAULT '{"agents": [], "regions": [], "allow_shared_fallback": false}'::jsonb NOT NULL,
    tools jsonb DEFAULT '{}'::jsonb NOT NULL,
    limits jsonb DEFAULT '{}'::jsonb NOT NULL,
    defaults jsonb DEFAULT '{}'::jsonb NOT NULL,
    retention jsonb DEFAULT '{"days": null, "store": true}'::jsonb NOT NULL,
    memory jsonb DEFAULT '{"mode": null, "workspace_id": null}'::jsonb NOT NULL,
    prefix_cache boolean DEFAULT true NOT NULL,
    migrate boolean DEFAULT false NOT NULL,
    context_length integer,
    quantization jsonb,
    speculative jsonb,
    kv_cache jsonb,
    cors jsonb,
    visibility text DEFAULT 'project'::text NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_by text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    last_request_at timestamp with time zone,
    deleted_at timestamp with time zone,
    cors_generation bigint DEFAULT 1 NOT NULL,
    probed_at timestamp with time zone,
    probe_failures integer DEFAULT 0 NOT NULL,
    ready_servers integer DEFAULT 0 NOT NULL,
    upstream_engine text,
    engine_report jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT endpoints_context_length_check CHECK ((context_length > 0)),
    CONSTRAINT endpoints_description_check CHECK ((char_length(description) <= 512)),
    CONSTRAINT endpoints_engine_report_check CHECK ((jsonb_typeof(engine_report) = 'object'::text)),
    CONSTRAINT endpoints_id_check CHECK ((id ~ '^ep_[0-9a-z]{24}$'::text)),
    CONSTRAINT endpoints_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 128))),
    CONSTRAINT endpoints_probe_failures_check CHECK ((probe_failures >= 0)),
    CONSTRAINT endpoints_ready_servers_check CHECK ((ready_servers >= 0)),
    CONSTRAINT endpoints_slug_check CHECK ((slug ~ '^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?$'::text)),
    CONSTRAINT endpoints_status_check CHECK ((status = ANY (ARRAY['provisioning'::text, 'active'::text, 'degraded'::text, 'inactive'::text, 'failed'::text, 'deleting'::text, 'deleted'::text]))),
    CONSTRAINT endpoints_task_mode_check CHECK ((task_mode = ANY (ARRAY['generate'::text, 'embed'::text, 'score'::text]))),
    CONSTRAINT endpoints_upstream_api_check CHECK ((upstream_api = 'openai'::text)),
    CONSTRAINT endpoints_upstream_engine_check CHECK ((upstream_engine = ANY (ARRAY['vllm'::text, 'llama_cpp'::text, 'openai'::text]))),
    CONSTRAINT endpoints_upstream_health_path_check CHECK ((upstream_health_path ~~ '/%'::text)),
    CONSTRAINT endpoints_upstream_max_concurrent_check CHECK ((upstream_max_concurrent > 0)),
    CONSTRAINT endpoints_upstream_timeout_ms_check CHECK ((upstream_timeout_ms > 0)),
    CONSTRAINT endpoints_upstream_urls_check CHECK ((cardinality(upstream_urls) <= 16)),
    CONSTRAINT endpoints_visibility_check CHECK ((visibility = ANY (ARRAY['project'::text, 'public_key'::text])))
);


--
-- Name: files; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.files (
    id text NOT NULL COLLATE pg_catalog."C",
    project_id text NOT NULL,
    filename text NOT NULL,
    purpose text NOT NULL,
    content_type text NOT NULL,
    relative_path text,
    attributes jsonb,
    bytes bigint NOT NULL,
    sha256 bytea NOT NULL,
    object_key text NOT NULL COLLATE pg_catalog."C",
    status text DEFAULT 'processed'::text NOT NULL,
    status_details text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    deleted_at timestamp with time zone,
    CONSTRAINT files_bytes_check CHECK ((bytes > 0)),
    CONSTRAINT files_filename_check CHECK ((octet_length(filename) <= 255)),
    CONSTRAINT files_id_check CHECK ((id ~ '^file-[0-9a-z]{24}$'::text)),
    CONSTRAINT files_purpose_check CHECK ((purpose = ANY (ARRAY['assistants'::text, 'batch'::text, 'fine-tune'::text, 'vision'::text, 'user_data'::text, 'evals'::text, 'assistants_output'::text, 'batch_output'::text]))),
    CONSTRAINT files_relative_path_check CHECK ((octet_length(relative_path) <= 1024)),
    CONSTRAINT files_sha256_check CHECK ((octet_length(sha256) = 32)),
    CONSTRAINT files_status_check CHECK ((status = ANY (ARRAY['uploaded'::text, 'processed'::text, 'error'::text])))
);


--
-- Name: job_lanes; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.job_lanes (
    queue text NOT NULL COLLATE pg_catalog."C",
    lane text NOT NULL COLLATE pg_catalog."C",
    most_running integer NOT NULL,
    CONSTRAINT job_lanes_most_running_check CHECK ((most_running >= 0))
);


--
-- Name: job_schedules; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.job_schedules (
    name text NOT NULL COLLATE pg_catalog."C",
    queue text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL COLLATE pg_catalog."C",
    every_seconds double precision NOT NULL,
    next_run_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT job_schedules_every_seconds_check CHECK ((every_seconds > (0)::double precision))
);


--
-- Name: join_keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.join_keys (
    id text NOT NULL COLLATE pg_catalog."C",
    project_id text COLLATE pg_catalog."C",
    name text,
    prefix text NOT NULL,
    key_hash bytea NOT NULL,
    role text NOT NULL,
    region text,
    supported_tiers text[],
    router_addr text,
    max_concurrent_requests integer NOT NULL,
    created_by text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone,
    consumed_at timestamp with time zone,
    agent_id text COLLATE pg_catalog."C",
    CONSTRAINT join_keys_agent_id_check CHECK ((agent_id ~ '^agt_[0-9a-z]{24}$'::text)),
    CONSTRAINT join_keys_check CHECK (((consumed_at IS NULL) = (agent_id IS NULL))),
    CONSTRAINT join_keys_check1 CHECK (((consumed_at IS NULL) OR (revoked_at IS NULL))),
    CONSTRAINT join_keys_id_check CHECK ((id ~ '^jk_[0-9a-z]{24}$'::text)),
    CONSTRAINT join_keys_key_hash_check CHECK ((octet_length(key_hash) = 32)),
    CONSTRAINT join_keys_max_concurrent_requests_check CHECK (((max_concurrent_requests >= 0) AND (max_concurrent_requests <= 4096))),
    CONSTRAINT join_keys_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 64))),
    CONSTRAINT join_keys_region_check CHECK ((region ~ '^[!-9;-~]{1,24}$'::text)),
    CONSTRAINT join_keys_role_check CHECK ((role = ANY (ARRAY['inference'::text, 'execution'::text]))),
    CONSTRAINT join_keys_router_addr_check CHECK (((char_length(router_addr) >= 1) AND (char_length(router_addr) <= 255))),
    CONSTRAINT join_keys_supported_tiers_check CHECK (((cardinality(supported_tiers) >= 1) AND (cardinality(supported_tiers) <= 16)))
);


--
-- Name: ledger_accounts; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.ledger_accounts (
    id bigint NOT NULL,
    project_id text COLLATE pg_catalog."C",
    kind public.ledger_account_kind NOT NULL,
    stripe integer DEFAULT 0 NOT NULL,
    currency text DEFAULT 'USD'::text NOT NULL,
    balance_nano bigint DEFAULT 0 NOT NULL,
    allow_negative_to_nano bigint DEFAULT 0 NOT NULL,
    version bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    is_budgeted boolean DEFAULT false NOT NULL,
    CONSTRAINT ledger_accounts_not_below CHECK ((balance_nano >= (- allow_negative_to_nano)))
)
WITH (fillfactor='25');


--
-- Name: ledger_accounts_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.ledger_accounts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.ledger_accounts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: ledger_entries; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.ledger_entries (
    tx_id text NOT NULL COLLATE pg_catalog."C",
    seq smallint NOT NULL,
    account_id bigint NOT NULL,
    amount_nano bigint NOT NULL,
    balance_after_nano bigint NOT NULL
);


--
-- Name: ledger_holds; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.ledger_holds (
    id text NOT NULL COLLATE pg_catalog."C",
    project_id text NOT NULL COLLATE pg_catalog."C",
    kind public.ledger_hold_kind NOT NULL,
    request_id text COLLATE pg_catalog."C",
    gateway_id text,
    amount_nano bigint NOT NULL,
    settled_nano bigint DEFAULT 0 NOT NULL,
    promo_nano bigint NOT NULL,
    state public.ledger_hold_state DEFAULT 'open'::public.ledger_hold_state NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    endpoint_id text,
    api_key_id text,
    CONSTRAINT ledger_holds_parts CHECK (((settled_nano >= 0) AND (promo_nano >= 0) AND ((settled_nano + promo_nano) <= amount_nano) AND ((kind = 'request'::public.ledger_hold_kind) = (request_id IS NOT NULL))))
)
WITH (fillfactor='50');


--
-- Name: ledger_transactions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.ledger_transactions (
    id text NOT NULL COLLATE pg_catalog."C",
    idempotency_key text NOT NULL COLLATE pg_catalog."C",
    kind public.ledger_kind NOT NULL,
    project_id text COLLATE pg_catalog."C",
    reference text,
    memo text,
    created_by text,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: mails; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.mails (
    id text NOT NULL COLLATE pg_catalog."C",
    project_id text COLLATE pg_catalog."C",
    key text NOT NULL COLLATE pg_catalog."C",
    recipient text NOT NULL,
    subject text NOT NULL,
    body text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_attempt_at timestamp with time zone DEFAULT now() NOT NULL,
    sent_at timestamp with time zone,
    failed_at timestamp with time zone,
    last_error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: memberships; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.memberships (
    project_id text NOT NULL,
    user_id text NOT NULL,
    role text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT memberships_role_check CHECK ((role = ANY (ARRAY['owner'::text, 'admin'::text, 'member'::text, 'viewer'::text])))
);


--
-- Name: models; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.models (
    id text NOT NULL,
    project_id text NOT NULL,
    name text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    format text,
    bytes bigint,
    file_count integer,
    sha256 text,
    status text NOT NULL,
    status_detail text,
    architecture text,
    family text,
    parameters bigint,
    context_length integer,
    quantization text,
    dtype text,
    license text,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    workload_type text,
    capabilities text[] DEFAULT '{}'::text[] NOT NULL,
    task_modes text[] DEFAULT '{generate}'::text[] NOT NULL,
    version text DEFAULT '1'::text NOT NULL,
    versions_count integer DEFAULT 1 NOT NULL,
    visibility text DEFAULT 'private'::text NOT NULL,
    catalog_role text,
    source text NOT NULL,
    preflight jsonb DEFAULT '{}'::jsonb NOT NULL,
    pinned boolean DEFAULT false NOT NULL,
    created_by text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    retired_at timestamp with time zone,
    deleted_at timestamp with time zone,
    CONSTRAINT models_catalog_role_check CHECK ((catalog_role = ANY (ARRAY['deployable'::text, 'shared'::text]))),
    CONSTRAINT models_context_length_check CHECK ((context_length > 0)),
    CONSTRAINT models_format_check CHECK ((format = ANY (ARRAY['safetensors'::text, 'gguf'::text, 'bin'::text, 'exl2'::text]))),
    CONSTRAINT models_id_check CHECK ((id ~ '^mdl_[0-9a-z]{24}$'::text)),
    CONSTRAINT models_name_check CHECK ((name ~ '^[A-Za-z0-9._/-]{1,128}$'::text)),
    CONSTRAINT models_source_check CHECK ((source = ANY (ARRAY['upload'::text, 'http_upstream'::text, 'catalog'::text]))),
    CONSTRAINT models_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'processing'::text, 'preflight'::text, 'ready'::text, 'failed'::text, 'retired'::text, 'deleted'::text]))),
    CONSTRAINT models_visibility_check CHECK ((visibility = ANY (ARRAY['private'::text, 'public'::text])))
);


--
-- Name: objects; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.objects (
    key text NOT NULL COLLATE pg_catalog."C",
    project_id text NOT NULL,
    kind text NOT NULL,
    state text DEFAULT 'writing'::text NOT NULL,
    bytes bigint NOT NULL,
    parts integer DEFAULT 0 NOT NULL,
    sha256 bytea,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    touched_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT objects_bytes_check CHECK ((bytes >= 0)),
    CONSTRAINT objects_check CHECK (((state <> 'stored'::text) OR (sha256 IS NOT NULL))),
    CONSTRAINT objects_kind_check CHECK ((kind = ANY (ARRAY['model'::text, 'completion'::text, 'response'::text, 'conversation'::text, 'batch'::text, 'file'::text, 'upload'::text, 'artifact'::text, 'chunk'::text, 'export'::text, 'execlog'::text, 'invoice'::text, 'answer'::text]))),
    CONSTRAINT objects_parts_check CHECK ((parts >= 0)),
    CONSTRAINT objects_sha256_check CHECK ((octet_length(sha256) = 32)),
    CONSTRAINT objects_state_check CHECK ((state = ANY (ARRAY['writing'::text, 'stored'::text, 'deleted'::text])))
);


--
-- Name: orders; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.orders (
    id text NOT NULL,
    project_id text NOT NULL,
    provider text NOT NULL,
    kind text NOT NULL,
    amount_nano bigint NOT NULL,
    state text DEFAULT 'open'::text NOT NULL,
    reference text,
    checkout_id text,
    payment_id text,
    ledger_tx_id text,
    created_by text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    paid_at timestamp with time zone,
    CONSTRAINT orders_amount_nano_check CHECK ((amount_nano > 0)),
    CONSTRAINT orders_check CHECK (((state = 'paid'::text) = (paid_at IS NOT NULL))),
    CONSTRAINT orders_check1 CHECK (((state = 'paid'::text) = (ledger_tx_id IS NOT NULL))),
    CONSTRAINT orders_check2 CHECK (((state = 'paid'::text) = (payment_id IS NOT NULL))),
    CONSTRAINT orders_id_check CHECK ((id ~ '^ord_[0-9a-z]{24}$'::text)),
    CONSTRAINT orders_kind_check CHECK ((kind = 'topup'::text)),
    CONSTRAINT orders_provider_check CHECK ((provider = ANY (ARRAY['manual'::text, 'stripe'::text]))),
    CONSTRAINT orders_reference_check CHECK (((char_length(reference) >= 1) AND (char_length(reference) <= 128))),
    CONSTRAINT orders_state_check CHECK ((state = ANY (ARRAY['open'::text, 'paid'::text, 'failed'::text])))
);


--
-- Name: outbox; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.outbox (
    id text NOT NULL COLLATE pg_catalog."C",
    project_id text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: projects; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.projects (
    id text NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    status text DEFAULT 'active'::text NOT NULL,
    settings jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    ledger_frozen boolean DEFAULT false NOT NULL,
    budget_generation bigint DEFAULT 0 NOT NULL,
    CONSTRAINT projects_id_check CHECK ((id ~ '^proj_[0-9a-z]{24}$'::text)),
    CONSTRAINT projects_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 128))),
    CONSTRAINT projects_slug_check CHECK ((slug ~ '^[a-z][a-z0-9-]{0,38}[a-z0-9]$'::text)),
    CONSTRAINT projects_status_check CHECK ((status = ANY (ARRAY['active'::text, 'suspended'::text, 'deleted'::text])))
);


--
-- Name: COLUMN projects.budget_generation; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.projects.budget_generation IS 'Rises with each change of a budget, so that gateways see with a key that what they know of caps is old.';


--
-- Name: provider_customers; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.provider_customers (
    project_id text NOT NULL,
    provider text NOT NULL,
    customer_id text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: provider_events; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.provider_events (
    provider text NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    outcome text,
    received_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: routing_decisions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.routing_decisions (
    id bigint NOT NULL,
    project_id text NOT NULL COLLATE pg_catalog."C",
    request_id text NOT NULL COLLATE pg_catalog."C",
    attempt integer NOT NULL,
    model text NOT NULL,
    tier text NOT NULL,
    worker_id text NOT NULL,
    explored boolean NOT NULL,
    candidates jsonb NOT NULL,
    sharpness integer NOT NULL,
    epsilon double precision NOT NULL,
    seed bigint NOT NULL,
    decision_us integer NOT NULL,
    decided_at timestamp with time zone NOT NULL,
    CONSTRAINT routing_decisions_attempt_check CHECK ((attempt > 0)),
    CONSTRAINT routing_decisions_candidates_check CHECK ((jsonb_typeof(candidates) = 'array'::text)),
    CONSTRAINT routing_decisions_request_id_check CHECK ((char_length(request_id) <= 256))
);


--
-- Name: routing_decisions_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.routing_decisions ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.routing_decisions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: schema_migrations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.schema_migrations (
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: service_tiers; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.service_tiers (
    slug text NOT NULL,
    price_nano_per_mtok bigint NOT NULL,
    node_price_nano_per_730h bigint DEFAULT 0 NOT NULL,
    tokens_per_minute integer,
    requests_per_minute integer,
    burst_floor integer NOT NULL,
    request_timeout_s integer NOT NULL,
    idle_stream_s integer NOT NULL,
    concurrent integer NOT NULL,
    queue_wait_s integer NOT NULL,
    batch_width integer NOT NULL,
    max_model_bytes bigint,
    max_endpoints integer NOT NULL,
    max_models integer,
    tokens_per_month bigint,
    priority integer NOT NULL,
    is_preemptable boolean DEFAULT false NOT NULL,
    hot_retention_s integer NOT NULL,
    cold_retention_s integer NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT service_tiers_batch_width_check CHECK ((batch_width >= 0)),
    CONSTRAINT service_tiers_burst_floor_check CHECK ((burst_floor >= 0)),
    CONSTRAINT service_tiers_cold_retention_s_check CHECK ((cold_retention_s >= 0)),
    CONSTRAINT service_tiers_concurrent_check CHECK ((concurrent > 0)),
    CONSTRAINT service_tiers_hot_retention_s_check CHECK ((hot_retention_s >= 0)),
    CONSTRAINT service_tiers_idle_stream_s_check CHECK ((idle_stream_s > 0)),
    CONSTRAINT service_tiers_max_endpoints_check CHECK ((max_endpoints > 0)),
    CONSTRAINT service_tiers_max_model_bytes_check CHECK ((max_model_bytes > 0)),
    CONSTRAINT service_tiers_max_models_check CHECK ((max_models > 0)),
    CONSTRAINT service_tiers_node_price_nano_per_730h_check CHECK ((node_price_nano_per_730h >= 0)),
    CONSTRAINT service_tiers_price_nano_per_mtok_check CHECK ((price_nano_per_mtok >= 0)),
    CONSTRAINT service_tiers_queue_wait_s_check CHECK ((queue_wait_s >= 0)),
    CONSTRAINT service_tiers_request_timeout_s_check CHECK ((request_timeout_s > 0)),
    CONSTRAINT service_tiers_requests_per_minute_check CHECK ((requests_per_minute > 0)),
    CONSTRAINT service_tiers_slug_check CHECK ((slug ~ '^[a-z][a-z0-9_]{0,47}$'::text)),
    CONSTRAINT service_tiers_tokens_per_minute_check CHECK ((tokens_per_minute > 0)),
    CONSTRAINT service_tiers_tokens_per_month_check CHECK ((tokens_per_month > 0))
);


--
-- Name: storage_usage; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.storage_usage (
    project_id text NOT NULL,
    bytes bigint DEFAULT 0 NOT NULL,
    reserved bigint DEFAULT 0 NOT NULL,
    limit_bytes bigint,
    CONSTRAINT storage_usage_bytes_check CHECK ((bytes >= 0)),
    CONSTRAINT storage_usage_limit_bytes_check CHECK ((limit_bytes >= 0)),
    CONSTRAINT storage_usage_reserved_check CHECK ((reserved >= 0))
);


--
-- Name: usage_events_default; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.usage_events_default (
    id text CONSTRAINT usage_events_id_not_null NOT NULL,
    project_id text CONSTRAINT usage_events_project_id_not_null NOT NULL,
    endpoint_id text,
    endpoint_slug text,
    model_id text,
    model_name text,
    model_version text,
    api_key_id text,
    user_id text,
    request_id text CONSTRAINT usage_events_request_id_not_null NOT NULL,
    surface text CONSTRAINT usage_events_surface_not_null NOT NULL,
    service_tier text CONSTRAINT usage_events_service_tier_not_null NOT NULL,
    tier text CONSTRAINT usage_events_tier_not_null NOT NULL,
    worker_id text,
    is_xim boolean CONSTRAINT usage_events_is_xim_not_null NOT NULL,
    is_stream boolean CONSTRAINT usage_events_is_stream_not_null NOT NULL,
    input_tokens bigint CONSTRAINT usage_events_input_tokens_not_null NOT NULL,
    output_tokens bigint CONSTRAINT usage_events_output_tokens_not_null NOT NULL,
    cached_tokens bigint CONSTRAINT usage_events_cached_tokens_not_null NOT NULL,
    reasoning_tokens bigint CONSTRAINT usage_events_reasoning_tokens_not_null NOT NULL,
    cost_nano bigint CONSTRAINT usage_events_cost_nano_not_null NOT NULL,
    price_nano_per_mtok bigint CONSTRAINT usage_events_price_nano_per_mtok_not_null NOT NULL,
    multiplier_bp integer CONSTRAINT usage_events_multiplier_bp_not_null NOT NULL,
    status_code integer CONSTRAINT usage_events_status_code_not_null NOT NULL,
    error_code text,
    fault text CONSTRAINT usage_events_fault_not_null NOT NULL,
    finish_reason text,
    cut_by_client boolean CONSTRAINT usage_events_cut_by_client_not_null NOT NULL,
    ttft_ms integer,
    latency_ms integer CONSTRAINT usage_events_latency_ms_not_null NOT NULL,
    queue_ms integer CONSTRAINT usage_events_queue_ms_not_null NOT NULL,
    router_us integer CONSTRAINT usage_events_router_us_not_null NOT NULL,
    retries integer CONSTRAINT usage_events_retries_not_null NOT NULL,
    region text,
    ledger_tx_id text,
    created_at timestamp with time zone CONSTRAINT usage_events_created_at_not_null NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() CONSTRAINT usage_events_xid_not_null NOT NULL
);


--
-- Name: usage_progress; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.usage_progress (
    is_only boolean DEFAULT true NOT NULL,
    watermark xid8 NOT NULL,
    recomputed_on date,
    CONSTRAINT usage_progress_is_only_check CHECK (is_only)
);


--
-- Name: users; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.users (
    id text NOT NULL,
    email text NOT NULL,
    name text NOT NULL,
    system_role text DEFAULT 'operator'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT users_email_check CHECK ((((char_length(email) >= 3) AND (char_length(email) <= 254)) AND (email ~~ '%_@_%'::text))),
    CONSTRAINT users_id_check CHECK ((id ~ '^user_[0-9a-z]{24}$'::text)),
    CONSTRAINT users_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 128))),
    CONSTRAINT users_system_role_check CHECK ((system_role = ANY (ARRAY['operator'::text, 'admin'::text])))
);


--
-- Name: webhook_deliveries; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.webhook_deliveries (
    id text NOT NULL COLLATE pg_catalog."C",
    project_id text NOT NULL COLLATE pg_catalog."C",
    webhook_id text NOT NULL COLLATE pg_catalog."C",
    event_id text NOT NULL COLLATE pg_catalog."C",
    event_type text NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    attempts jsonb DEFAULT '[]'::jsonb NOT NULL,
    next_attempt_at timestamp with time zone DEFAULT now(),
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    delivered_at timestamp with time zone,
    CONSTRAINT webhook_deliveries_id_check CHECK ((id ~ '^dlv_[0-9a-z]{24}$'::text)),
    CONSTRAINT webhook_deliveries_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'delivering'::text, 'succeeded'::text, 'retrying'::text, 'exhausted'::text])))
)
WITH (fillfactor='80');


--
-- Name: webhooks; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.webhooks (
    id text NOT NULL COLLATE pg_catalog."C",
    project_id text NOT NULL COLLATE pg_catalog."C",
    url text NOT NULL,
    events text[] NOT NULL,
    name text,
    description text,
    metadata jsonb NOT NULL,
    active boolean NOT NULL,
    disabled_reason text,
    secret bytea NOT NULL,
    secret_hint text NOT NULL,
    previous_secret bytea,
    previous_secret_until timestamp with time zone,
    failing_since timestamp with time zone,
    tests_from timestamp with time zone,
    tests integer DEFAULT 0 NOT NULL,
    budget_id text COLLATE pg_catalog."C",
    generation bigint DEFAULT 1 NOT NULL,
    created_by text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT webhooks_disabled_reason_check CHECK ((disabled_reason = ANY (ARRAY['failing'::text, 'gone'::text]))),
    CONSTRAINT webhooks_id_check CHECK ((id ~ '^whk_[0-9a-z]{24}$'::text)),
    CONSTRAINT webhooks_url_check CHECK (((octet_length(url) >= 8) AND (octet_length(url) <= 2048)))
);


--
-- Name: usage_events_default; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.usage_events ATTACH PARTITION public.usage_events_default DEFAULT;


--
-- Name: agent_events agent_events_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.agent_events
    ADD CONSTRAINT agent_events_pkey PRIMARY KEY (id);


--
-- Name: agents agents_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.agents
    ADD CONSTRAINT agents_pkey PRIMARY KEY (id);


--
-- Name: api_keys api_keys_key_hash_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_key_hash_key UNIQUE (key_hash);


--
-- Name: api_keys api_keys_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);


--
-- Name: api_keys api_keys_previous_key_hash_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_previous_key_hash_key UNIQUE (previous_key_hash);


--
-- Name: audit_heads audit_heads_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_heads
    ADD CONSTRAINT audit_heads_pkey PRIMARY KEY (chain);


--
-- Name: audit_log audit_log_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (id);


--
-- Name: audit_log audit_log_project_id_seq_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_project_id_seq_key UNIQUE NULLS NOT DISTINCT (project_id, seq);


--
-- Name: budget_history budget_history_budget_id_period_start_threshold_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.budget_history
    ADD CONSTRAINT budget_history_budget_id_period_start_threshold_key UNIQUE (budget_id, period_start, threshold);


--
-- Name: budget_history budget_history_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.budget_history
    ADD CONSTRAINT budget_history_pkey PRIMARY KEY (id);


--
-- Name: budget_spending budget_spending_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.budget_spending
    ADD CONSTRAINT budget_spending_pkey PRIMARY KEY (budget_id, period_start);


--
-- Name: budgets budgets_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.budgets
    ADD CONSTRAINT budgets_pkey PRIMARY KEY (id);


--
-- Name: daily_usage_rollups daily_usage_rollups_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.daily_usage_rollups
    ADD CONSTRAINT daily_usage_rollups_pkey PRIMARY KEY (project_id, day, endpoint_slug, model_name, surface, service_tier, api_key_id, is_xim);


--
-- Name: data_keys data_keys_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.data_keys
    ADD CONSTRAINT data_keys_pkey PRIMARY KEY (id);


--
-- Name: endpoints endpoints_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.endpoints
    ADD CONSTRAINT endpoints_pkey PRIMARY KEY (id);


--
-- Name: files files_object_key_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.files
    ADD CONSTRAINT files_object_key_key UNIQUE (object_key);


--
-- Name: files files_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.files
    ADD CONSTRAINT files_pkey PRIMARY KEY (id);


--
-- Name: idempotency_keys idempotency_keys_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (project_id, scope);


--
-- Name: job_lanes job_lanes_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.job_lanes
    ADD CONSTRAINT job_lanes_pkey PRIMARY KEY (queue, lane);


--
-- Name: job_schedules job_schedules_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.job_schedules
    ADD CONSTRAINT job_schedules_pkey PRIMARY KEY (name);


--
-- Name: jobs jobs_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);


--
-- Name: join_keys join_keys_key_hash_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.join_keys
    ADD CONSTRAINT join_keys_key_hash_key UNIQUE (key_hash);


--
-- Name: join_keys join_keys_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.join_keys
    ADD CONSTRAINT join_keys_pkey PRIMARY KEY (id);


--
-- Name: ledger_accounts ledger_accounts_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.ledger_accounts
    ADD CONSTRAINT ledger_accounts_pkey PRIMARY KEY (id);


--
-- Name: ledger_accounts ledger_accounts_project_id_kind_stripe_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.ledger_accounts
    ADD CONSTRAINT ledger_accounts_project_id_kind_stripe_key UNIQUE NULLS NOT DISTINCT (project_id, kind, stripe);


--
-- Name: ledger_entries ledger_entries_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.ledger_entries
    ADD CONSTRAINT ledger_entries_pkey PRIMARY KEY (tx_id, seq);


--
-- Name: ledger_holds ledger_holds_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.ledger_holds
    ADD CONSTRAINT ledger_holds_pkey PRIMARY KEY (id);


--
-- Name: ledger_holds ledger_holds_request_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.ledger_holds
    ADD CONSTRAINT ledger_holds_request_id_key UNIQUE (request_id);


--
-- Name: ledger_transactions ledger_transactions_idempotency_key_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.ledger_transactions
    ADD CONSTRAINT ledger_transactions_idempotency_key_key UNIQUE (idempotency_key);


--
-- Name: ledger_transactions ledger_transactions_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.ledger_transactions
    ADD CONSTRAINT ledger_transactions_pkey PRIMARY KEY (id);


--
-- Name: mails mails_key_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.mails
    ADD CONSTRAINT mails_key_key UNIQUE (key);


--
-- Name: mails mails_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.mails
    ADD CONSTRAINT mails_pkey PRIMARY KEY (id);


--
-- Name: memberships memberships_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.memberships
    ADD CONSTRAINT memberships_pkey PRIMARY KEY (project_id, user_id);


--
-- Name: models models_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.models
    ADD CONSTRAINT models_pkey PRIMARY KEY (id);


--
-- Name: objects objects_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.objects
    ADD CONSTRAINT objects_pkey PRIMARY KEY (key);


--
-- Name: orders orders_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (id);


--
-- Name: orders orders_provider_payment_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_provider_payment_id_key UNIQUE (provider, payment_id);


--
-- Name: orders orders_provider_reference_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_provider_reference_key UNIQUE (provider, reference);


--
-- Name: outbox outbox_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);


--
-- Name: projects projects_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_pkey PRIMARY KEY (id);


--
-- Name: projects projects_slug_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_slug_key UNIQUE (slug);


--
-- Name: provider_customers provider_customers_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.provider_customers
    ADD CONSTRAINT provider_customers_pkey PRIMARY KEY (project_id, provider);


--
-- Name: provider_events provider_events_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.provider_events
    ADD CONSTRAINT provider_events_pkey PRIMARY KEY (provider, id);


--
-- Name: routing_decisions routing_decisions_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.routing_decisions
    ADD CONSTRAINT routing_decisions_pkey PRIMARY KEY (id);


--
-- Name: schema_migrations schema_migrations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (name);


--
-- Name: service_tiers service_tiers_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.service_tiers
    ADD CONSTRAINT service_tiers_pkey PRIMARY KEY (slug);


--
-- Name: storage_usage storage_usage_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.storage_usage
    ADD CONSTRAINT storage_usage_pkey PRIMARY KEY (project_id);


--
-- Name: usage_events usage_events_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.usage_events
    ADD CONSTRAINT usage_events_pkey PRIMARY KEY (request_id, id, created_at);


--
-- Name: usage_events_default usage_events_default_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.usage_events_default
    ADD CONSTRAINT usage_events_default_pkey PRIMARY KEY (request_id, id, created_at);


--
-- Name: usage_progress usage_progress_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.usage_progress
    ADD CONSTRAINT usage_progress_pkey PRIMARY KEY (is_only);


--
-- Name: users users_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);


--
-- Name: webhook_deliveries webhook_deliveries_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (id);


--
-- Name: webhooks webhooks_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.webhooks
    ADD CONSTRAINT webhooks_pkey PRIMARY KEY (id);


--
-- Name: agent_events_by_agent; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX agent_events_by_agent ON public.agent_events USING btree (agent_id, created_at, id);


--
-- Name: agents_by_curve_key; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX agents_by_curve_key ON public.agents USING btree (curve_public_key);


--
-- Name: agents_by_name; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX agents_by_name ON public.agents USING btree (project_id, name) WHERE (revoked_at IS NULL);


--
-- Name: agents_by_previous_curve_key; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX agents_by_previous_curve_key ON public.agents USING btree (previous_curve_key) WHERE (previous_curve_key IS NOT NULL);


--
-- Name: agents_by_project; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX agents_by_project ON public.agents USING btree (project_id, created_at, id);


--
-- Name: agents_online; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX agents_online ON public.agents USING btree (last_heartbeat_at) WHERE is_online;


--
-- Name: api_keys_by_project; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX api_keys_by_project ON public.api_keys USING btree (project_id, created_at, id);


--
-- Name: audit_log_by_time; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_log_by_time ON public.audit_log USING btree (project_id, at);


--
-- Name: budget_history_by_mail; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX budget_history_by_mail ON public.budget_history USING btree (fired_at) WHERE is_mail_due;


--
-- Name: budgets_by_project; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX budgets_by_project ON public.budgets USING btree (project_id, created_at, id) WHERE (deleted_at IS NULL);


--
-- Name: daily_usage_rollups_by_day; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX daily_usage_rollups_by_day ON public.daily_usage_rollups USING btree (day);


--
-- Name: data_keys_by_project; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX data_keys_by_project ON public.data_keys USING btree (project_id, created_at, id);


--
-- Name: data_keys_current; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX data_keys_current ON public.data_keys USING btree (project_id) WHERE (retired_at IS NULL);


--
-- Name: endpoints_by_deleted_slug; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX endpoints_by_deleted_slug ON public.endpoints USING btree (project_id, slug, deleted_at) WHERE (deleted_at IS NOT NULL);


--
-- Name: endpoints_by_model; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX endpoints_by_model ON public.endpoints USING btree (model_id) WHERE (deleted_at IS NULL);


--
-- Name: endpoints_by_probe; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX endpoints_by_probe ON public.endpoints USING btree (probed_at) WHERE (deleted_at IS NULL);


--
-- Name: endpoints_by_slug; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX endpoints_by_slug ON public.endpoints USING btree (project_id, slug) WHERE (deleted_at IS NULL);


--
-- Name: files_by_age; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX files_by_age ON public.files USING btree (project_id, created_at, id) WHERE (deleted_at IS NULL);


--
-- Name: files_to_expire; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX files_to_expire ON public.files USING btree (expires_at) WHERE ((deleted_at IS NULL) AND (expires_at IS NOT NULL));


--
-- Name: files_to_forget; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX files_to_forget ON public.files USING btree (deleted_at) WHERE (deleted_at IS NOT NULL);


--
-- Name: idempotency_keys_by_age; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idempotency_keys_by_age ON public.idempotency_keys USING btree (created_at);


--
-- Name: jobs_ended; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX jobs_ended ON public.jobs USING btree (ended_at) WHERE (state = ANY (ARRAY['done'::text, 'dead'::text]));


--
-- Name: jobs_ready; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX jobs_ready ON public.jobs USING btree (queue, priority, lane, run_at, id) WHERE (state = 'ready'::text);


--
-- Name: jobs_running; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX jobs_running ON public.jobs USING btree (queue, lane) WHERE (state = 'running'::text);


--
-- Name: jobs_unique; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX jobs_unique ON public.jobs USING btree (queue, project_id, unique_key) NULLS NOT DISTINCT WHERE ((unique_key IS NOT NULL) AND (state = ANY (ARRAY['waiting'::text, 'ready'::text, 'running'::text])));


--
-- Name: jobs_waiting; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX jobs_waiting ON public.jobs USING btree (queue, run_at) WHERE (state = 'waiting'::text);


--
-- Name: join_keys_by_project; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX join_keys_by_project ON public.join_keys USING btree (project_id, created_at, id);


--
-- Name: ledger_holds_open_by_expiry; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ledger_holds_open_by_expiry ON public.ledger_holds USING btree (expires_at) WHERE (state = 'open'::public.ledger_hold_state);


--
-- Name: ledger_holds_open_by_project; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ledger_holds_open_by_project ON public.ledger_holds USING btree (project_id) WHERE (state = 'open'::public.ledger_hold_state);


--
-- Name: ledger_transactions_by_project; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ledger_transactions_by_project ON public.ledger_transactions USING btree (project_id, created_at, id);


--
-- Name: mails_by_attempt; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX mails_by_attempt ON public.mails USING btree (next_attempt_at) WHERE ((sent_at IS NULL) AND (failed_at IS NULL));


--
-- Name: memberships_by_user; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX memberships_by_user ON public.memberships USING btree (user_id);


--
-- Name: models_by_name; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX models_by_name ON public.models USING btree (project_id, name) WHERE (deleted_at IS NULL);


--
-- Name: objects_by_project; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX objects_by_project ON public.objects USING btree (project_id, kind) INCLUDE (bytes) WHERE (state = 'stored'::text);


--
-- Name: objects_to_collect; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX objects_to_collect ON public.objects USING btree (touched_at) WHERE (state <> 'stored'::text);


--
-- Name: objects_to_expire; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX objects_to_expire ON public.objects USING btree (created_at) WHERE ((state = 'stored'::text) AND (kind = 'answer'::text));


--
-- Name: orders_by_project; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX orders_by_project ON public.orders USING btree (project_id, created_at, id);


--
-- Name: outbox_by_age; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX outbox_by_age ON public.outbox USING btree (created_at);


--
-- Name: routing_decisions_by_age; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX routing_decisions_by_age ON public.routing_decisions USING btree (decided_at);


--
-- Name: routing_decisions_by_request; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX routing_decisions_by_request ON public.routing_decisions USING btree (project_id, request_id);


--
-- Name: shared_agents_by_name; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX shared_agents_by_name ON public.agents USING btree (name) WHERE ((project_id IS NULL) AND (revoked_at IS NULL));


--
-- Name: usage_events_by_project; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX usage_events_by_project ON ONLY public.usage_events USING btree (project_id, created_at);


--
-- Name: usage_events_by_xid; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX usage_events_by_xid ON ONLY public.usage_events USING btree (xid);


--
-- Name: usage_events_default_project_id_created_at_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX usage_events_default_project_id_created_at_idx ON public.usage_events_default USING btree (project_id, created_at);


--
-- Name: usage_events_default_xid_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX usage_events_default_xid_idx ON public.usage_events_default USING btree (xid);


--
-- Name: users_by_email; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX users_by_email ON public.users USING btree (lower(email));


--
-- Name: webhook_deliveries_by_age; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX webhook_deliveries_by_age ON public.webhook_deliveries USING btree (created_at);


--
-- Name: webhook_deliveries_by_webhook; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX webhook_deliveries_by_webhook ON public.webhook_deliveries USING btree (webhook_id, created_at, id);


--
-- Name: webhooks_by_project; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX webhooks_by_project ON public.webhooks USING btree (project_id, created_at, id) WHERE (deleted_at IS NULL);


--
-- Name: webhooks_of_budgets; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX webhooks_of_budgets ON public.webhooks USING btree (budget_id) WHERE ((budget_id IS NOT NULL) AND (deleted_at IS NULL));


--
-- Name: usage_events_default_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.usage_events_pkey ATTACH PARTITION public.usage_events_default_pkey;


--
-- Name: usage_events_default_project_id_created_at_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.usage_events_by_project ATTACH PARTITION public.usage_events_default_project_id_created_at_idx;


--
-- Name: usage_events_default_xid_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.usage_events_by_xid ATTACH PARTITION public.usage_events_default_xid_idx;


--
-- Name: audit_log audit_log_is_append_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER audit_log_is_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.audit_log FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_audit_change();


--
-- Name: audit_log audit_log_is_chained; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER audit_log_is_chained BEFORE INSERT ON public.audit_log FOR EACH ROW EXECUTE FUNCTION public.audit_chain();


--
-- Name: budgets budgets_written; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER budgets_written AFTER INSERT OR UPDATE ON public.budgets FOR EACH ROW EXECUTE FUNCTION public.budgets_written();


--
-- Name: ledger_accounts ledger_accounts_held; Type: TRIGGER; Schema: public; Owner: -
--

CREATE CONSTRAINT TRIGGER ledger_accounts_held AFTER UPDATE OF balance_nano ON public.ledger_accounts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((new.kind = 'held'::public.ledger_account_kind)) EXECUTE FUNCTION public.ledger_check_held();


--
-- Name: ledger_entries ledger_entries_apply; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER ledger_entries_apply AFTER INSERT ON public.ledger_entries REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION public.ledger_apply();


--
-- Name: ledger_entries ledger_entries_only_grow; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER ledger_entries_only_grow BEFORE DELETE OR UPDATE OR TRUNCATE ON public.ledger_entries FOR EACH STATEMENT EXECUTE FUNCTION public.ledger_refuse();


--
-- Name: ledger_transactions ledger_transactions_only_grow; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER ledger_transactions_only_grow BEFORE DELETE OR UPDATE OR TRUNCATE ON public.ledger_transactions FOR EACH STATEMENT EXECUTE FUNCTION public.ledger_refuse();


--
-- Name: outbox outbox_fans_out; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER outbox_fans_out AFTER INSERT ON public.outbox REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION public.outbox_fans_out();


--
-- Name: projects projects_open_ledger_accounts; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER projects_open_ledger_accounts AFTER INSERT ON public.projects FOR EACH ROW EXECUTE FUNCTION public.ledger_open_accounts();


--
-- Name: webhooks webhook_forgets_lane; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER webhook_forgets_lane AFTER UPDATE OF url, deleted_at ON public.webhooks FOR EACH ROW WHEN (((old.url <> new.url) OR ((old.deleted_at IS NULL) AND (new.deleted_at IS NOT NULL)))) EXECUTE FUNCTION public.webhook_forgets_lane();


--
-- Name: agent_events agent_events_agent_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.agent_events
    ADD CONSTRAINT agent_events_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES public.agents(id);


--
-- Name: agent_events agent_events_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.agent_events
    ADD CONSTRAINT agent_events_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: agents agents_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.agents
    ADD CONSTRAINT agents_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: api_keys api_keys_created_by_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_created_by_fkey FOREIGN KEY (created_by) REFERENCES public.users(id);


--
-- Name: api_keys api_keys_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: budget_history budget_history_budget_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.budget_history
    ADD CONSTRAINT budget_history_budget_id_fkey FOREIGN KEY (budget_id) REFERENCES public.budgets(id);


--
-- Name: budgets budgets_created_by_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.budgets
    ADD CONSTRAINT budgets_created_by_fkey FOREIGN KEY (created_by) REFERENCES public.users(id);


--
-- Name: budgets budgets_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.budgets
    ADD CONSTRAINT budgets_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: data_keys data_keys_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.data_keys
    ADD CONSTRAINT data_keys_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: endpoints endpoints_model_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.endpoints
    ADD CONSTRAINT endpoints_model_id_fkey FOREIGN KEY (model_id) REFERENCES public.models(id);


--
-- Name: endpoints endpoints_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.endpoints
    ADD CONSTRAINT endpoints_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: endpoints endpoints_tier_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.endpoints
    ADD CONSTRAINT endpoints_tier_fkey FOREIGN KEY (tier) REFERENCES public.service_tiers(slug);


--
-- Name: files files_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.files
    ADD CONSTRAINT files_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: join_keys join_keys_agent_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.join_keys
    ADD CONSTRAINT join_keys_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES public.agents(id);


--
-- Name: join_keys join_keys_created_by_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.join_keys
    ADD CONSTRAINT join_keys_created_by_fkey FOREIGN KEY (created_by) REFERENCES public.users(id);


--
-- Name: join_keys join_keys_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.join_keys
    ADD CONSTRAINT join_keys_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: ledger_accounts ledger_accounts_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.ledger_accounts
    ADD CONSTRAINT ledger_accounts_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: ledger_holds ledger_holds_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.ledger_holds
    ADD CONSTRAINT ledger_holds_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: memberships memberships_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.memberships
    ADD CONSTRAINT memberships_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: memberships memberships_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.memberships
    ADD CONSTRAINT memberships_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);


--
-- Name: models models_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.models
    ADD CONSTRAINT models_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: objects objects_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.objects
    ADD CONSTRAINT objects_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: orders orders_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: provider_customers provider_customers_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.provider_customers
    ADD CONSTRAINT provider_customers_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: routing_decisions routing_decisions_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.routing_decisions
    ADD CONSTRAINT routing_decisions_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: storage_usage storage_usage_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.storage_usage
    ADD CONSTRAINT storage_usage_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: webhook_deliveries webhook_deliveries_webhook_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_webhook_id_fkey FOREIGN KEY (webhook_id) REFERENCES public.webhooks(id);


--
-- Name: webhooks webhooks_created_by_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.webhooks
    ADD CONSTRAINT webhooks_created_by_fkey FOREIGN KEY (created_by) REFERENCES public.users(id);


--
-- Name: webhooks webhooks_project_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.webhooks
    ADD CONSTRAINT webhooks_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id);


--
-- Name: agent_events; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.agent_events ENABLE ROW LEVEL SECURITY;

--
-- Name: agents; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.agents ENABLE ROW LEVEL SECURITY;

--
-- Name: api_keys; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.api_keys ENABLE ROW LEVEL SECURITY;

--
-- Name: audit_log; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.audit_log ENABLE ROW LEVEL SECURITY;

--
-- Name: budget_history; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.budget_history ENABLE ROW LEVEL SECURITY;

--
-- Name: budget_spending; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.budget_spending ENABLE ROW LEVEL SECURITY;

--
-- Name: budgets; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.budgets ENABLE ROW LEVEL SECURITY;

--
-- Name: daily_usage_rollups; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.daily_usage_rollups ENABLE ROW LEVEL SECURITY;

--
-- Name: data_keys; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.data_keys ENABLE ROW LEVEL SECURITY;

--
-- Name: endpoints; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.endpoints ENABLE ROW LEVEL SECURITY;

--
-- Name: files; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.files ENABLE ROW LEVEL SECURITY;

--
-- Name: idempotency_keys; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.idempotency_keys ENABLE ROW LEVEL SECURITY;

--
-- Name: jobs; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.jobs ENABLE ROW LEVEL SECURITY;

--
-- Name: join_keys; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.join_keys ENABLE ROW LEVEL SECURITY;

--
-- Name: ledger_accounts; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.ledger_accounts ENABLE ROW LEVEL SECURITY;

--
-- Name: ledger_entries; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.ledger_entries ENABLE ROW LEVEL SECURITY;

--
-- Name: ledger_holds; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.ledger_holds ENABLE ROW LEVEL SECURITY;

--
-- Name: ledger_transactions; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.ledger_transactions ENABLE ROW LEVEL SECURITY;

--
-- Name: mails; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.mails ENABLE ROW LEVEL SECURITY;

--
-- Name: memberships; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.memberships ENABLE ROW LEVEL SECURITY;

--
-- Name: models; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.models ENABLE ROW LEVEL SECURITY;

--
-- Name: objects; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.objects ENABLE ROW LEVEL SECURITY;

--
-- Name: orders; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.orders ENABLE ROW LEVEL SECURITY;

--
-- Name: outbox; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.outbox ENABLE ROW LEVEL SECURITY;

--
-- Name: projects; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.projects ENABLE ROW LEVEL SECURITY;

--
-- Name: provider_customers; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.provider_customers ENABLE ROW LEVEL SECURITY;

--
-- Name: routing_decisions; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.routing_decisions ENABLE ROW LEVEL SECURITY;

--
-- Name: storage_usage; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.storage_usage ENABLE ROW LEVEL SECURITY;

--
-- Name: agent_events tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.agent_events TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: agents tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.agents TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: api_keys tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.api_keys TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: audit_log tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.audit_log TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: budget_history tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.budget_history FOR SELECT TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: budget_spending tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.budget_spending FOR SELECT TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: budgets tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.budgets TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: daily_usage_rollups tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.daily_usage_rollups FOR SELECT TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: endpoints tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.endpoints TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: files tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.files TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: idempotency_keys tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.idempotency_keys TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: jobs tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.jobs TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: join_keys tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.join_keys TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: ledger_accounts tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.ledger_accounts FOR SELECT TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: ledger_entries tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.ledger_entries FOR SELECT TO xerotier_tenant USING ((account_id IN ( SELECT ledger_accounts.id
   FROM public.ledger_accounts
  WHERE (ledger_accounts.project_id = current_setting('xerotier.project'::text, true)))));


--
-- Name: ledger_holds tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.ledger_holds FOR SELECT TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: ledger_transactions tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.ledger_transactions FOR SELECT TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: mails tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.mails TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: memberships tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.memberships TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: models tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.models TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: objects tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.objects TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: orders tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.orders TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: outbox tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.outbox TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: projects tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.projects TO xerotier_tenant USING ((id = current_setting('xerotier.project'::text, true))) WITH CHECK ((id = current_setting('xerotier.project'::text, true)));


--
-- Name: provider_customers tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.provider_customers TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: routing_decisions tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.routing_decisions TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: storage_usage tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.storage_usage TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: usage_events tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.usage_events FOR SELECT TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: webhook_deliveries tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.webhook_deliveries TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: webhooks tenant; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY tenant ON public.webhooks TO xerotier_tenant USING ((project_id = current_setting('xerotier.project'::text, true))) WITH CHECK ((project_id = current_setting('xerotier.project'::text, true)));


--
-- Name: usage_events; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.usage_events ENABLE ROW LEVEL SECURITY;

--
-- Name: usage_events_default; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.usage_events_default ENABLE ROW LEVEL SECURITY;

--
-- Name: webhook_deliveries; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.webhook_deliveries ENABLE ROW LEVEL SECURITY;

--
-- Name: webhooks; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.webhooks ENABLE ROW LEVEL SECURITY;

--
-- Name: TABLE audit_log; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT ON TABLE public.audit_log TO xerotier_tenant;
GRANT SELECT,INSERT ON TABLE public.audit_log TO xerotier_system;


--
-- Name: FUNCTION audit_chain(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.audit_chain() FROM PUBLIC;


--
-- Name: FUNCTION budget_check(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.budget_check() FROM PUBLIC;
GRANT ALL ON FUNCTION public.budget_check() TO xerotier_system;


--
-- Name: FUNCTION budget_clock(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.budget_clock() FROM PUBLIC;
GRANT ALL ON FUNCTION public.budget_clock() TO xerotier_tenant;
GRANT ALL ON FUNCTION public.budget_clock() TO xerotier_system;


--
-- Name: FUNCTION budget_fire(ids text[], at timestamp with time zone); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.budget_fire(ids text[], at timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION budget_room(project text, endpoint text, api_key text, OUT room bigint, OUT budget text, OUT ends timestamp with time zone); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.budget_room(project text, endpoint text, api_key text, OUT room bigint, OUT budget text, OUT ends timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION budget_spend(batch public.settled_request[], stamp text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.budget_spend(batch public.settled_request[], stamp text) FROM PUBLIC;


--
-- Name: FUNCTION budgets_written(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.budgets_written() FROM PUBLIC;


--
-- Name: FUNCTION create_usage_partitions(first timestamp with time zone, months integer); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.create_usage_partitions(first timestamp with time zone, months integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.create_usage_partitions(first timestamp with time zone, months integer) TO xerotier_system;


--
-- Name: FUNCTION delete_usage_events(partition text, before timestamp with time zone, first_block bigint, blocks integer, OUT deleted bigint, OUT is_end boolean); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.delete_usage_events(partition text, before timestamp with time zone, first_block bigint, blocks integer, OUT deleted bigint, OUT is_end boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION public.delete_usage_events(partition text, before timestamp with time zone, first_block bigint, blocks integer, OUT deleted bigint, OUT is_end boolean) TO xerotier_system;


--
-- Name: FUNCTION drop_usage_partitions(before timestamp with time zone); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.drop_usage_partitions(before timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.drop_usage_partitions(before timestamp with time zone) TO xerotier_system;


--
-- Name: TABLE idempotency_keys; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.idempotency_keys TO xerotier_tenant;
GRANT SELECT,DELETE,UPDATE ON TABLE public.idempotency_keys TO xerotier_system;


--
-- Name: FUNCTION idempotency_claim(project text, key_scope text, body bytea, request text, lease double precision, kept double precision); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.idempotency_claim(project text, key_scope text, body bytea, request text, lease double precision, kept double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION public.idempotency_claim(project text, key_scope text, body bytea, request text, lease double precision, kept double precision) TO xerotier_tenant;


--
-- Name: FUNCTION idempotency_complete(project text, key_scope text, request text, answer_status integer, sealed bytea); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.idempotency_complete(project text, key_scope text, request text, answer_status integer, sealed bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION public.idempotency_complete(project text, key_scope text, request text, answer_status integer, sealed bytea) TO xerotier_tenant;


--
-- Name: TABLE jobs; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT ON TABLE public.jobs TO xerotier_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.jobs TO xerotier_system;


--
-- Name: FUNCTION job_claim(from_queue text, after_lane text, most integer, most_in_lane integer, most_limited integer, worker_name text, lease double precision); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.job_claim(from_queue text, after_lane text, most integer, most_in_lane integer, most_limited integer, worker_name text, lease double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION public.job_claim(from_queue text, after_lane text, most integer, most_in_lane integer, most_limited integer, worker_name text, lease double precision) TO xerotier_system;


--
-- Name: FUNCTION ledger_apply(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.ledger_apply() FROM PUBLIC;


--
-- Name: FUNCTION ledger_check_held(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.ledger_check_held() FROM PUBLIC;


--
-- Name: FUNCTION ledger_close(ids text[], new_state public.ledger_hold_state); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.ledger_close(ids text[], new_state public.ledger_hold_state) FROM PUBLIC;


--
-- Name: FUNCTION ledger_expire(most integer); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.ledger_expire(most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.ledger_expire(most integer) TO xerotier_system;


--
-- Name: FUNCTION ledger_hold(hold text, new_kind text, request text, project text, gateway text, want bigint, least_amount bigint, key text, seconds double precision, endpoint text, api_key text, OUT granted bigint, OUT available bigint, OUT budget text, OUT budget_ends bigint); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.ledger_hold(hold text, new_kind text, request text, project text, gateway text, want bigint, least_amount bigint, key text, seconds double precision, endpoint text, api_key text, OUT granted bigint, OUT available bigint, OUT budget text, OUT budget_ends bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION public.ledger_hold(hold text, new_kind text, request text, project text, gateway text, want bigint, least_amount bigint, key text, seconds double precision, endpoint text, api_key text, OUT granted bigint, OUT available bigint, OUT budget text, OUT budget_ends bigint) TO xerotier_system;


--
-- Name: FUNCTION ledger_lock(projects text[]); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.ledger_lock(projects text[]) FROM PUBLIC;


--
-- Name: FUNCTION ledger_new_id(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.ledger_new_id() FROM PUBLIC;


--
-- Name: FUNCTION ledger_open_accounts(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.ledger_open_accounts() FROM PUBLIC;


--
-- Name: FUNCTION ledger_post(new_kind text, project text, amount bigint, key text, new_reference text, new_memo text, author text, is_manual boolean, OUT id text, OUT is_new boolean); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.ledger_post(new_kind text, project text, amount bigint, key text, new_reference text, new_memo text, author text, is_manual boolean, OUT id text, OUT is_new boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION public.ledger_post(new_kind text, project text, amount bigint, key text, new_reference text, new_memo text, author text, is_manual boolean, OUT id text, OUT is_new boolean) TO xerotier_system;


--
-- Name: FUNCTION ledger_refuse(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.ledger_refuse() FROM PUBLIC;


--
-- Name: FUNCTION ledger_release(hold text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.ledger_release(hold text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.ledger_release(hold text) TO xerotier_system;


--
-- Name: FUNCTION ledger_renew(ids text[], seconds double precision); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.ledger_renew(ids text[], seconds double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION public.ledger_renew(ids text[], seconds double precision) TO xerotier_system;


--
-- Name: FUNCTION ledger_settle(batch public.settled_request[], process integer, is_replay boolean); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.ledger_settle(batch public.settled_request[], process integer, is_replay boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION public.ledger_settle(batch public.settled_request[], process integer, is_replay boolean) TO xerotier_system;


--
-- Name: FUNCTION outbox_fans_out(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.outbox_fans_out() FROM PUBLIC;


--
-- Name: FUNCTION restart_usage_rollups(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.restart_usage_rollups() FROM PUBLIC;
GRANT ALL ON FUNCTION public.restart_usage_rollups() TO xerotier_system;


--
-- Name: FUNCTION trim_audit_log(older_than timestamp with time zone, most integer); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.trim_audit_log(older_than timestamp with time zone, most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.trim_audit_log(older_than timestamp with time zone, most integer) TO xerotier_system;


--
-- Name: TABLE usage_events; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.usage_events TO xerotier_tenant;
GRANT SELECT,INSERT ON TABLE public.usage_events TO xerotier_system;


--
-- Name: FUNCTION webhook_deliver(project text, webhook text, event text, kind text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.webhook_deliver(project text, webhook text, event text, kind text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.webhook_deliver(project text, webhook text, event text, kind text) TO xerotier_tenant;
GRANT ALL ON FUNCTION public.webhook_deliver(project text, webhook text, event text, kind text) TO xerotier_system;


--
-- Name: FUNCTION webhook_forgets_lane(); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.webhook_forgets_lane() FROM PUBLIC;


--
-- Name: FUNCTION webhook_wants(events text[], kind text); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.webhook_wants(events text[], kind text) FROM PUBLIC;


--
-- Name: TABLE agent_events; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT ON TABLE public.agent_events TO xerotier_tenant;
GRANT SELECT,INSERT,DELETE ON TABLE public.agent_events TO xerotier_system;


--
-- Name: TABLE agents; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.agents TO xerotier_tenant;
GRANT SELECT,INSERT,UPDATE ON TABLE public.agents TO xerotier_system;


--
-- Name: COLUMN agents.name; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(name) ON TABLE public.agents TO xerotier_tenant;


--
-- Name: COLUMN agents.region; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(region) ON TABLE public.agents TO xerotier_tenant;


--
-- Name: COLUMN agents.max_concurrent_requests; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(max_concurrent_requests) ON TABLE public.agents TO xerotier_tenant;


--
-- Name: COLUMN agents.supported_tiers; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(supported_tiers) ON TABLE public.agents TO xerotier_tenant;


--
-- Name: COLUMN agents.revoked_at; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(revoked_at) ON TABLE public.agents TO xerotier_tenant;


--
-- Name: COLUMN agents.description; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(description) ON TABLE public.agents TO xerotier_tenant;


--
-- Name: COLUMN agents.storage_limit_enabled; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(storage_limit_enabled) ON TABLE public.agents TO xerotier_tenant;


--
-- Name: COLUMN agents.storage_limit_bytes; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(storage_limit_bytes) ON TABLE public.agents TO xerotier_tenant;


--
-- Name: COLUMN agents.suspended_at; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(suspended_at) ON TABLE public.agents TO xerotier_tenant;


--
-- Name: COLUMN agents.drain_until; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(drain_until) ON TABLE public.agents TO xerotier_tenant;


--
-- Name: COLUMN agents.credentials_revoked_at; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(credentials_revoked_at) ON TABLE public.agents TO xerotier_tenant;


--
-- Name: COLUMN agents.rotation_nonce; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(rotation_nonce) ON TABLE public.agents TO xerotier_tenant;


--
-- Name: COLUMN agents.rotation_reason; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(rotation_reason) ON TABLE public.agents TO xerotier_tenant;


--
-- Name: COLUMN agents.awaits_approval; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(awaits_approval) ON TABLE public.agents TO xerotier_tenant;


--
-- Name: TABLE api_keys; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.api_keys TO xerotier_tenant;
GRANT SELECT,INSERT,UPDATE ON TABLE public.api_keys TO xerotier_system;


--
-- Name: TABLE audit_heads; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.audit_heads TO xerotier_system;


--
-- Name: TABLE budget_history; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.budget_history TO xerotier_tenant;
GRANT SELECT ON TABLE public.budget_history TO xerotier_system;


--
-- Name: COLUMN budget_history.is_mail_due; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(is_mail_due) ON TABLE public.budget_history TO xerotier_system;


--
-- Name: TABLE budget_spending; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.budget_spending TO xerotier_tenant;
GRANT SELECT ON TABLE public.budget_spending TO xerotier_system;


--
-- Name: TABLE budgets; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.budgets TO xerotier_tenant;
GRANT SELECT,INSERT,UPDATE ON TABLE public.budgets TO xerotier_system;


--
-- Name: TABLE daily_usage_rollups; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.daily_usage_rollups TO xerotier_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.daily_usage_rollups TO xerotier_system;


--
-- Name: TABLE data_keys; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.data_keys TO xerotier_system;


--
-- Name: TABLE endpoints; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.endpoints TO xerotier_tenant;
GRANT SELECT,INSERT,UPDATE ON TABLE public.endpoints TO xerotier_system;


--
-- Name: TABLE files; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.files TO xerotier_tenant;
GRANT SELECT,DELETE,UPDATE ON TABLE public.files TO xerotier_system;


--
-- Name: TABLE job_lanes; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.job_lanes TO xerotier_system;


--
-- Name: TABLE job_schedules; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.job_schedules TO xerotier_system;


--
-- Name: TABLE join_keys; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT ON TABLE public.join_keys TO xerotier_tenant;
GRANT SELECT,INSERT,UPDATE ON TABLE public.join_keys TO xerotier_system;


--
-- Name: COLUMN join_keys.revoked_at; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(revoked_at) ON TABLE public.join_keys TO xerotier_tenant;


--
-- Name: TABLE ledger_accounts; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.ledger_accounts TO xerotier_tenant;
GRANT SELECT ON TABLE public.ledger_accounts TO xerotier_system;


--
-- Name: TABLE ledger_entries; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.ledger_entries TO xerotier_tenant;
GRANT SELECT ON TABLE public.ledger_entries TO xerotier_system;


--
-- Name: TABLE ledger_holds; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.ledger_holds TO xerotier_tenant;
GRANT SELECT ON TABLE public.ledger_holds TO xerotier_system;


--
-- Name: TABLE ledger_transactions; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.ledger_transactions TO xerotier_tenant;
GRANT SELECT ON TABLE public.ledger_transactions TO xerotier_system;


--
-- Name: TABLE mails; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.mails TO xerotier_system;


--
-- Name: TABLE memberships; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.memberships TO xerotier_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.memberships TO xerotier_system;


--
-- Name: TABLE models; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.models TO xerotier_tenant;
GRANT SELECT,INSERT,UPDATE ON TABLE public.models TO xerotier_system;


--
-- Name: TABLE objects; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.objects TO xerotier_tenant;
GRANT SELECT,DELETE,UPDATE ON TABLE public.objects TO xerotier_system;


--
-- Name: TABLE orders; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.orders TO xerotier_tenant;
GRANT SELECT,INSERT,UPDATE ON TABLE public.orders TO xerotier_system;


--
-- Name: TABLE outbox; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT ON TABLE public.outbox TO xerotier_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.outbox TO xerotier_system;


--
-- Name: TABLE projects; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.projects TO xerotier_tenant;
GRANT SELECT,INSERT,UPDATE ON TABLE public.projects TO xerotier_system;


--
-- Name: COLUMN projects.name; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(name) ON TABLE public.projects TO xerotier_tenant;


--
-- Name: COLUMN projects.settings; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(settings) ON TABLE public.projects TO xerotier_tenant;


--
-- Name: COLUMN projects.updated_at; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(updated_at) ON TABLE public.projects TO xerotier_tenant;


--
-- Name: TABLE provider_customers; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT ON TABLE public.provider_customers TO xerotier_system;


--
-- Name: TABLE provider_events; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.provider_events TO xerotier_system;


--
-- Name: TABLE routing_decisions; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.routing_decisions TO xerotier_tenant;
GRANT SELECT,INSERT,DELETE ON TABLE public.routing_decisions TO xerotier_system;


--
-- Name: TABLE service_tiers; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.service_tiers TO xerotier_tenant;
GRANT SELECT,INSERT,UPDATE ON TABLE public.service_tiers TO xerotier_system;


--
-- Name: TABLE storage_usage; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.storage_usage TO xerotier_tenant;
GRANT SELECT,INSERT,UPDATE ON TABLE public.storage_usage TO xerotier_system;


--
-- Name: COLUMN storage_usage.project_id; Type: ACL; Schema: public; Owner: -
--

GRANT INSERT(project_id) ON TABLE public.storage_usage TO xerotier_tenant;


--
-- Name: COLUMN storage_usage.bytes; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(bytes) ON TABLE public.storage_usage TO xerotier_tenant;


--
-- Name: COLUMN storage_usage.reserved; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(reserved) ON TABLE public.storage_usage TO xerotier_tenant;


--
-- Name: TABLE usage_events_default; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.usage_events_default TO xerotier_system;


--
-- Name: TABLE usage_progress; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.usage_progress TO xerotier_tenant;
GRANT SELECT,UPDATE ON TABLE public.usage_progress TO xerotier_system;


--
-- Name: TABLE users; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.users TO xerotier_system;


--
-- Name: COLUMN users.id; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT(id) ON TABLE public.users TO xerotier_tenant;


--
-- Name: COLUMN users.system_role; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT(system_role) ON TABLE public.users TO xerotier_tenant;


--
-- Name: TABLE webhook_deliveries; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT ON TABLE public.webhook_deliveries TO xerotier_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.webhook_deliveries TO xerotier_system;


--
-- Name: TABLE webhooks; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.webhooks TO xerotier_tenant;
GRANT SELECT,INSERT,UPDATE ON TABLE public.webhooks TO xerotier_system;


--
-- PostgreSQL database dump complete
--


