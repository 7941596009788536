-- Money: double entry in whole nano-USD (08 §6). Nothing here is ever changed or deleted but balances and holds; corrections are new transactions.
--
-- Signs: a positive balance is money that somebody can still dispose of. A project's balances are what it may spend; `revenue` is what was
-- earned. What came in from outside stands against them as negative balances: `payments_clearing` (money that customers paid), `grants`
-- (credit that was given away), `write_off` (use that nobody could pay for), `refunds` (money given back, with the opposite sign). So a top-up of
-- 10 is cash +10, payments_clearing -10, and the sum of all accounts is 0 at any time.
--
-- Every function locks the accounts it posts to in the order of their ids, before anything else, then the holds in the order of theirs.
-- Platform accounts are made first, so they have the lower ids.

-- Enumerations and few CHECKs: each statement reads and prepares a table's CHECK constraints anew, and settlements are many small statements.
CREATE TYPE ledger_account_kind AS ENUM ('cash', 'promo', 'held', 'revenue', 'payments_clearing', 'grants', 'refunds', 'write_off');
CREATE TYPE ledger_kind AS ENUM (
    'topup', 'grant', 'hold', 'release', 'settle', 'node_hour', 'subscription', 'refund', 'chargeback', 'adjust', 'expire_promo');
CREATE TYPE ledger_hold_kind AS ENUM ('request', 'lease');
CREATE TYPE ledger_hold_state AS ENUM ('open', 'settled', 'released', 'expired');

CREATE TABLE ledger_accounts (
    id                     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- NULL = the platform's
    project_id             text COLLATE "C" REFERENCES projects (id),
    kind                   ledger_account_kind NOT NULL,
    -- Platform accounts exist once for each stripe, so that gateway processes do not wait for one row.
    stripe                 integer NOT NULL DEFAULT 0,
    currency               text NOT NULL DEFAULT 'USD',
    balance_nano           bigint NOT NULL DEFAULT 0,
    allow_negative_to_nano bigint NOT NULL DEFAULT 0,
    version                bigint NOT NULL DEFAULT 0,
    created_at             timestamptz NOT NULL DEFAULT now(),
    updated_at             timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ledger_accounts_not_below CHECK (balance_nano >= -allow_negative_to_nano),
    UNIQUE NULLS NOT DISTINCT (project_id, kind, stripe)
) WITH (fillfactor = 25);

INSERT INTO ledger_accounts (kind, stripe, allow_negative_to_nano)
SELECT kind, stripe, 9223372036854775807
FROM generate_series(0, 7) stripe, unnest(enum_range('revenue'::ledger_account_kind, 'write_off')) kind;

CREATE TABLE ledger_transactions (
    id              text COLLATE "C" PRIMARY KEY,
    idempotency_key text COLLATE "C" NOT NULL UNIQUE,
    kind            ledger_kind NOT NULL,
    project_id      text COLLATE "C",
    -- Whose: a payment's number, a request's id.
    reference       text,
    memo            text,
    created_by      text,
    created_at      timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX ledger_transactions_by_project ON ledger_transactions (project_id, created_at, id);

-- No foreign keys: their triggers would cost each entry more than all the rest. The trigger below finds entries of no account, `billing verify`
-- those of no transaction. The trigger also refuses entries of 0.
CREATE TABLE ledger_entries (
    tx_id              text COLLATE "C" NOT NULL,
    seq                smallint NOT NULL,
    account_id         bigint NOT NULL,
    amount_nano        bigint NOT NULL,
    balance_after_nano bigint NOT NULL,
    PRIMARY KEY (tx_id, seq)
);

CREATE TABLE ledger_holds (
    id           text COLLATE "C" PRIMARY KEY,
    project_id   text COLLATE "C" NOT NULL REFERENCES projects (id),
    kind         ledger_hold_kind NOT NULL,
    request_id   text COLLATE "C" UNIQUE,
    -- The gateway process that made it.
    gateway_id   text,
    -- All that was ever moved into it, and what of that is spent.
    amount_nano  bigint NOT NULL,
    settled_nano bigint NOT NULL DEFAULT 0,
    -- What is left in it of promotional credit, which is spent first; the rest that is left came from cash.
    promo_nano   bigint NOT NULL,
    state        ledger_hold_state NOT NULL DEFAULT 'open',
    expires_at   timestamptz NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ledger_holds_parts CHECK (
        settled_nano >= 0 AND promo_nano >= 0 AND settled_nano + promo_nano <= amount_nano AND (kind = 'request') = (request_id IS NOT NULL))
) WITH (fillfactor = 50);

CREATE INDEX ledger_holds_open_by_project ON ledger_holds (project_id) WHERE state = 'open';
CREATE INDEX ledger_holds_open_by_expiry ON ledger_holds (expires_at) WHERE state = 'open';

-- A violation that `billing verify` found: no manual write until somebody has looked.
ALTER TABLE projects ADD COLUMN ledger_frozen boolean NOT NULL DEFAULT false;

-- MARK: what cannot happen

CREATE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The ledger only grows: % on % is refused.', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER ledger_transactions_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse();
CREATE TRIGGER ledger_entries_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse();

-- Entries move balances: here and nowhere else, so a balance is the sum of its entries. The entries of one transaction come in one statement and
-- sum to 0; the last of each account must have foreseen the balance to which they lead.
CREATE FUNCTION ledger_apply() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    is_balanced boolean;
    touched integer;
    moved integer;
BEGIN
    WITH moved AS (
        UPDATE ledger_accounts a SET balance_nano = n.balance, version = a.version + 1, updated_at = now()
        FROM (
            SELECT DISTINCT w.account_id, w.balance_after_nano AS balance
            FROM (SELECT account_id, balance_after_nano, sum(amount_nano) OVER (PARTITION BY account_id) AS change FROM written) w
            JOIN ledger_accounts b ON b.id = w.account_id AND w.balance_after_nano = b.balance_nano + w.change) n
        WHERE a.id = n.account_id
        RETURNING a.id)
    SELECT NOT EXISTS (SELECT FROM written GROUP BY tx_id HAVING sum(amount_nano) <> 0 OR bool_or(amount_nano = 0)),
        count(DISTINCT account_id), (SELECT count(*) FROM moved)
    INTO is_balanced, touched, moved FROM written;
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

CREATE TRIGGER ledger_entries_apply AFTER INSERT ON ledger_entries REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_apply();

-- What is held is what the open holds hold; looked at once for each project at the end of a transaction.
CREATE FUNCTION ledger_check_held() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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

CREATE CONSTRAINT TRIGGER ledger_accounts_held AFTER UPDATE OF balance_nano ON ledger_accounts DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.kind = 'held') EXECUTE FUNCTION ledger_check_held();

-- MARK: accounts come with their project

CREATE FUNCTION ledger_open_accounts() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO ledger_accounts (project_id, kind) VALUES (NEW.id, 'cash'), (NEW.id, 'promo'), (NEW.id, 'held');
    RETURN NULL;
END
$$;

CREATE TRIGGER projects_open_ledger_accounts AFTER INSERT ON projects FOR EACH ROW EXECUTE FUNCTION ledger_open_accounts();

INSERT INTO ledger_accounts (project_id, kind)
SELECT projects.id, kind FROM projects, unnest(enum_range('cash'::ledger_account_kind, 'held')) kind;

-- MARK: writing

-- `le_` and 24 random characters.
CREATE FUNCTION ledger_new_id() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT 'le_' || left(replace(gen_random_uuid()::text, '-', ''), 24)
$$;

-- Locks a project's accounts; to be called before any of its holds is locked.
CREATE FUNCTION ledger_lock(projects text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM ledger_accounts WHERE project_id = ANY (projects) ORDER BY id FOR NO KEY UPDATE;
END
$$;

-- Money that comes, goes or is put right: `amount` is what the project's balance changes by. A chargeback takes what cash there is, the rest is
-- written off. The same key again changes nothing. Answers the transaction's id and whether this call made it.
CREATE FUNCTION ledger_post(
    new_kind text, project text, amount bigint, key text, new_reference text, new_memo text, author text, is_manual boolean,
    OUT id text, OUT is_new boolean
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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

-- Moves up to `want` from the project's balance into a hold, promo first, but nothing where less than `least_amount` is there; the hold is made
-- where it is missing, and lives for `seconds` from now. Once for each key. `granted` is 0 for a hold that is closed.
CREATE FUNCTION ledger_hold(
    hold text, new_kind text, request text, project text, gateway text, want bigint, least_amount bigint, key text, seconds double precision,
    OUT granted bigint, OUT available bigint
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    cash ledger_accounts;
    promo ledger_accounts;
    held ledger_accounts;
    existing ledger_holds;
    from_promo bigint;
    new_id text;
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
    granted := least(want, available);
    SELECT * INTO existing FROM ledger_holds h WHERE h.id = hold FOR NO KEY UPDATE;
    IF existing.project_id <> project THEN
        RAISE EXCEPTION 'The hold % is another project''s.', hold USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'ledger_project';
    END IF;
    IF granted <= 0 OR granted < least_amount OR existing.state <> 'open' THEN
        granted := 0;
        RETURN;
    END IF;
    available := available - granted;
    from_promo := least(promo.balance_nano, granted);
    IF existing.id IS NULL THEN
        INSERT INTO ledger_holds (id, project_id, kind, request_id, gateway_id, amount_nano, promo_nano, expires_at)
        VALUES (hold, project, new_kind::ledger_hold_kind, request, gateway, granted, from_promo, clock_timestamp() + make_interval(secs => seconds));
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

-- Renews open holds and answers those that are not open. It locks no account, hence the holds in the order of their ids.
CREATE FUNCTION ledger_renew(ids text[], seconds double precision) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM FROM ledger_holds WHERE id = ANY (ids) ORDER BY id FOR NO KEY UPDATE;
    UPDATE ledger_holds SET expires_at = clock_timestamp() + make_interval(secs => seconds), updated_at = now()
    WHERE id = ANY (ids) AND state = 'open';
    RETURN QUERY SELECT i FROM unnest(ids) i WHERE NOT EXISTS (SELECT FROM ledger_holds h WHERE h.id = i AND h.state = 'open');
END
$$;

-- Ends open holds whose projects' accounts and own rows are locked, and gives back what is not settled: to promo what came from there, the rest
-- to cash. Answers how many it ended.
CREATE FUNCTION ledger_close(ids text[], new_state ledger_hold_state) RETURNS integer LANGUAGE plpgsql AS $$
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

CREATE FUNCTION ledger_release(hold text) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM ledger_lock(ARRAY(SELECT project_id FROM ledger_holds WHERE id = hold));
    PERFORM FROM ledger_holds WHERE id = hold FOR NO KEY UPDATE;
    RETURN ledger_close(ARRAY[hold], 'released');
END
$$;

-- Ends up to `most` holds that nobody has renewed; answers how many. Several sweepers share the work.
CREATE FUNCTION ledger_expire(most integer) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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

-- MARK: rights

-- Everything is written through the functions above, which run as the owner: even the system's role cannot write past them. Tenants read their own.
ALTER TABLE ledger_accounts ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON ledger_accounts FOR SELECT TO xerotier_tenant USING (project_id = current_setting('xerotier.project', true));
ALTER TABLE ledger_transactions ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON ledger_transactions FOR SELECT TO xerotier_tenant USING (project_id = current_setting('xerotier.project', true));
ALTER TABLE ledger_holds ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON ledger_holds FOR SELECT TO xerotier_tenant USING (project_id = current_setting('xerotier.project', true));
-- Entries name no project, their accounts do.
ALTER TABLE ledger_entries ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON ledger_entries FOR SELECT TO xerotier_tenant
    USING (account_id IN (SELECT id FROM ledger_accounts WHERE project_id = current_setting('xerotier.project', true)));
GRANT SELECT ON ledger_accounts, ledger_transactions, ledger_entries, ledger_holds TO xerotier_tenant, xerotier_system;

REVOKE EXECUTE ON FUNCTION
    ledger_refuse, ledger_apply, ledger_check_held, ledger_open_accounts, ledger_new_id, ledger_lock, ledger_post, ledger_hold, ledger_renew,
    ledger_close, ledger_release, ledger_expire
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_post, ledger_hold, ledger_renew, ledger_release, ledger_expire TO xerotier_system;
