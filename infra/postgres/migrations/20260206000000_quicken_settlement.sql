-- Settling costs less: balances are looked at once for each account of a batch rather than once for each entry (an account's row has as many dead
-- versions as there were batches since the last clean-up, and each look walks through them), and the identifiers of transactions begin with their
-- time, so that new rows meet at one end of their indexes.

CREATE OR REPLACE FUNCTION ledger_apply() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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

-- Writes a batch. A request that costs something gets one ledger transaction, `settle:<id>`:
--   held -> revenue       what the hold covers: the cost as far as `held_nano` and the open hold reach
--   cash -> revenue       the excess, as far as there is cash; then promo
--   write_off -> revenue  what nobody can pay
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
            SELECT id, project_id, kind, balance_nano FROM ledger_accounts
            WHERE project_id = ANY (projects) OR (project_id IS NULL AND kind IN ('revenue', 'write_off') AND stripe = process % 8)
            ORDER BY id FOR NO KEY UPDATE)
        SELECT max(id) FILTER (WHERE kind = 'revenue'), max(balance_nano) FILTER (WHERE kind = 'revenue'),
            max(id) FILTER (WHERE kind = 'write_off'), max(balance_nano) FILTER (WHERE kind = 'write_off'),
            array_agg(project_id) FILTER (WHERE kind = 'held'), array_agg(id) FILTER (WHERE kind = 'held'),
            array_agg(balance_nano) FILTER (WHERE kind = 'held')
        INTO revenue, revenue_balance, write_off, write_off_balance, held_projects, held_accounts, held_balances FROM locked;
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
        RETURN;
    END IF;

    WITH request AS MATERIALIZED (
        SELECT r.ordinality AS n, stamp || right(r.id, 10) AS tx, r.id, r.request_id, r.project_id, r.cost_nano AS cost, h.id AS hold,
            CASE WHEN h.id IS NULL THEN 0 ELSE least(r.cost_nano, r.held_nano) END AS wish, h.amount_nano - h.settled_nano AS rest
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
            cash.id AS cash, cash.balance_nano AS cash_balance, greatest(0, cash.balance_nano + cash.allow_negative_to_nano) AS cash_there,
            promo.id AS promo, promo.balance_nano AS promo_balance, promo.balance_nano AS promo_there
        FROM covered c
        JOIN ledger_accounts cash ON cash.project_id = c.project_id AND cash.kind = 'cash' AND cash.stripe = 0
        JOIN ledger_accounts promo ON promo.project_id = c.project_id AND promo.kind = 'promo' AND promo.stripe = 0
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
END
$$;
