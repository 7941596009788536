-- Budgets: how much a project wants to spend in a period, whom to tell on the way, and whether to stop there (08 §8).
--
-- What was spent is a counter for each budget and period, which the settlement itself moves under the lock of the project's accounts. So a hard
-- cap needs no more than that lock: a hold is granted while `spent + open leases and holds + the hold <= cap`. A budget with a scope, of endpoints
-- or keys, counts only the holds of single requests that name their endpoint and key; requests in its scope take no part in leases.
--
-- Spending counts in the period in which it is settled. A project without budgets pays for all this with one flag of a row that is read anyway.

CREATE TABLE budgets (
    id            text COLLATE "C" PRIMARY KEY CHECK (id ~ '^bud_[0-9a-z]{24}$'),
    project_id    text COLLATE "C" NOT NULL REFERENCES projects (id),
    name          text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 64),
    -- A billion dollars; in nano-USD, doubled by the largest cap_percent, that is far from what a bigint holds.
    amount_cents  bigint NOT NULL CHECK (amount_cents BETWEEN 1 AND 100000000000),
    period        text NOT NULL CHECK (period IN ('monthly', 'weekly', 'daily')),
    -- Empty = all.
    endpoint_ids  text[] NOT NULL,
    api_key_ids   text[] NOT NULL,
    thresholds    integer[] NOT NULL CHECK (cardinality(thresholds) <= 10 AND 1 <= ALL (thresholds) AND 100 >= ALL (thresholds)),
    alert_channels text[] NOT NULL CHECK (alert_channels <@ '{email,webhook}'),
    webhook_url   text CHECK (webhook_url IS NOT NULL OR NOT 'webhook' = ANY (alert_channels)),
    hard_cap      boolean NOT NULL,
    cap_percent   integer NOT NULL CHECK (cap_percent BETWEEN 100 AND 200),
    created_by    text REFERENCES users (id),
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    checked_at    timestamptz,
    -- Its history stays.
    deleted_at    timestamptz
);

CREATE INDEX budgets_by_project ON budgets (project_id, created_at, id) WHERE deleted_at IS NULL;

CREATE TABLE budget_spending (
    budget_id     text COLLATE "C" NOT NULL,
    project_id    text COLLATE "C" NOT NULL,
    period_start  timestamptz NOT NULL,
    spent_nano    bigint NOT NULL CHECK (spent_nano >= 0),
    PRIMARY KEY (budget_id, period_start)
) WITH (fillfactor = 50);

-- Each threshold fires once in a period: armed where there is no row.
CREATE TABLE budget_history (
    id            text COLLATE "C" PRIMARY KEY,
    budget_id     text COLLATE "C" NOT NULL REFERENCES budgets (id),
    project_id    text COLLATE "C" NOT NULL,
    budget_name   text NOT NULL,
    threshold     integer NOT NULL,
    spent_nano    bigint NOT NULL,
    amount_cents  bigint NOT NULL,
    period_start  timestamptz NOT NULL,
    period_end    timestamptz NOT NULL,
    hard_cap      boolean NOT NULL,
    fired_at      timestamptz NOT NULL,
    -- Its mails are still to be written.
    is_mail_due   boolean NOT NULL,
    UNIQUE (budget_id, period_start, threshold)
);

CREATE INDEX budget_history_by_mail ON budget_history (fired_at) WHERE is_mail_due;

-- What happened and others want to know, written in the transaction in which it happened.
CREATE TABLE outbox (
    id            text COLLATE "C" PRIMARY KEY,
    project_id    text COLLATE "C" NOT NULL,
    -- The type of event, such as ox.budget_alert (08 §11), and its `data`.
    kind          text NOT NULL,
    payload       jsonb NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    delivered_at  timestamptz
);

CREATE INDEX outbox_by_time ON outbox (created_at, id) WHERE delivered_at IS NULL;

ALTER TABLE projects ADD COLUMN budget_generation bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN projects.budget_generation IS 'Rises with each change of a budget, so that gateways see with a key that what they know of caps is old.';
-- On `held` alone: whether the project has budgets.
ALTER TABLE ledger_accounts ADD COLUMN is_budgeted boolean NOT NULL DEFAULT false;
-- What a hold of kind `request` is for.
ALTER TABLE ledger_holds ADD COLUMN endpoint_id text, ADD COLUMN api_key_id text;

-- MARK: periods

-- The time that budgets go by.
CREATE FUNCTION budget_clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()';

-- Calendar months, ISO weeks (from Monday) and days, of UTC.
CREATE FUNCTION budget_period_start(period text, at timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT date_trunc(CASE period WHEN 'monthly' THEN 'month' WHEN 'weekly' THEN 'week' ELSE 'day' END, at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
$$;

CREATE FUNCTION budget_period_end(period text, at timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT (budget_period_start(period, at) AT TIME ZONE 'UTC'
        + CASE period WHEN 'monthly' THEN interval '1 month' WHEN 'weekly' THEN interval '1 week' ELSE interval '1 day' END) AT TIME ZONE 'UTC'
$$;

-- Whether a budget counts what is spent at an endpoint with a key. Nothing is known of what a lease will be for: only budgets without scope count it.
CREATE FUNCTION budget_counts(endpoint_ids text[], api_key_ids text[], endpoint text, api_key text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce((endpoint_ids = '{}' OR endpoint = ANY (endpoint_ids)) AND (api_key_ids = '{}' OR api_key = ANY (api_key_ids)), false)
$$;

-- MARK: spending

-- What the tightest hard cap still leaves, below 0 where it was passed before it was set; no row without one. For a project whose accounts are locked.
CREATE FUNCTION budget_room(project text, endpoint text, api_key text, OUT room bigint, OUT budget text, OUT ends timestamptz)
RETURNS SETOF record LANGUAGE plpgsql STABLE AS $$
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

-- Fires what the spending of these budgets has reached and has not fired in this period; once, however many try. Answers how many.
CREATE FUNCTION budget_fire(ids text[], at timestamptz) RETURNS integer LANGUAGE plpgsql AS $$
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

-- Adds what a batch has spent to the counters, and fires what that passed. What was written off the project has not paid (the entry 5 of a
-- settlement). Called by ledger_settle, with the accounts locked.
CREATE FUNCTION budget_spend(batch settled_request[], stamp text) RETURNS void LANGUAGE plpgsql AS $$
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

-- The check of the worker, for what no settlement has noticed. Answers how many thresholds it fired.
CREATE FUNCTION budget_check() RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    RETURN budget_fire(ARRAY(SELECT id FROM budgets WHERE deleted_at IS NULL), budget_clock());
END
$$;

-- MARK: changing budgets

-- A new budget knows what its period has seen, a changed one counts anew; the flag of the accounts and the generation follow, and thresholds that
-- are reached already fire. An update of `checked_at` alone only fires.
CREATE FUNCTION budgets_written() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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

CREATE TRIGGER budgets_written AFTER INSERT OR UPDATE ON budgets FOR EACH ROW EXECUTE FUNCTION budgets_written();

-- MARK: holds under caps

DROP FUNCTION ledger_hold;

-- Moves up to `want` from the project's balance into a hold, promo first, but nothing where less than `least_amount` is there; the hold is made
-- where it is missing, and lives for `seconds` from now. Once for each key. `granted` is 0 for a hold that is closed.
--
-- `available` is what balance and hard caps leave. Where a cap leaves less than the balance, `budget` is the tightest one and `budget_ends` the end
-- of its period in unix seconds. A hold of one request says what it is for; a lease is under the caps without scope alone.
CREATE FUNCTION ledger_hold(
    hold text, new_kind text, request text, project text, gateway text, want bigint, least_amount bigint, key text, seconds double precision,
    endpoint text DEFAULT NULL, api_key text DEFAULT NULL,
    OUT granted bigint, OUT available bigint, OUT budget text, OUT budget_ends bigint
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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

-- MARK: settling

-- Writes a batch. A request that costs something gets one ledger transaction, `settle:<id>`:
--   held -> revenue       what the hold covers: the cost as far as `held_nano` and the open hold reach
--   cash -> revenue       the excess, as far as there is cash; then promo
--   write_off -> revenue  what nobody can pay, or what a hard cap does not let the project pay
-- A hold of kind `request` ends here: its rest goes back to the balance. `process` is the number of the writing process and chooses the stripe.
-- With `is_replay` rows that are there already are left alone; without it they are a unique_violation, which is quicker.
CREATE OR REPLACE FUNCTION ledger_settle(batch settled_request[], process integer, is_replay boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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

-- MARK: rights

ALTER TABLE budgets ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON budgets FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));
GRANT SELECT, INSERT, UPDATE ON budgets TO xerotier_tenant, xerotier_system;

-- Written by the functions above alone.
ALTER TABLE budget_spending ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON budget_spending FOR SELECT TO xerotier_tenant USING (project_id = current_setting('xerotier.project', true));
GRANT SELECT ON budget_spending TO xerotier_tenant, xerotier_system;

ALTER TABLE budget_history ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON budget_history FOR SELECT TO xerotier_tenant USING (project_id = current_setting('xerotier.project', true));
GRANT SELECT ON budget_history TO xerotier_tenant, xerotier_system;
GRANT UPDATE (is_mail_due) ON budget_history TO xerotier_system;

-- No request reads it: it is for those who deliver.
ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON outbox FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));
GRANT INSERT ON outbox TO xerotier_tenant;
GRANT SELECT, INSERT, UPDATE ON outbox TO xerotier_system;

REVOKE EXECUTE ON FUNCTION
    budget_clock, budget_room, budget_fire, budget_spend, budget_check, budgets_written, ledger_hold
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION budget_check, ledger_hold TO xerotier_system;
-- For reading how the present period stands.
GRANT EXECUTE ON FUNCTION budget_clock TO xerotier_tenant, xerotier_system;
