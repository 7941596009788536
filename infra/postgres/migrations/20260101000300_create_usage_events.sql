-- One row for each accepted request, written in the transaction that settles it. Names are copied, so rows outlive what they name; hence no
-- references. The gateway chooses id and created_at, so writing a row again changes nothing.

CREATE TABLE usage_events (
    id                   text NOT NULL,
    project_id           text NOT NULL,
    endpoint_id          text,
    endpoint_slug        text,
    model_id             text,
    model_name           text,
    model_version        text,
    api_key_id           text,
    user_id              text,
    request_id           text NOT NULL,
    surface              text NOT NULL CHECK (surface IN (
                             'chat', 'completions', 'responses', 'embeddings', 'rerank', 'score', 'batch', 'memory', 'tool', 'web_search')),
    service_tier         text NOT NULL,
    tier                 text NOT NULL,
    worker_id            text,
    is_xim               boolean NOT NULL,
    is_stream            boolean NOT NULL,
    input_tokens         bigint NOT NULL CHECK (input_tokens >= 0),
    output_tokens        bigint NOT NULL CHECK (output_tokens >= 0),
    cached_tokens        bigint NOT NULL CHECK (cached_tokens >= 0),
    reasoning_tokens     bigint NOT NULL CHECK (reasoning_tokens >= 0),
    cost_nano            bigint NOT NULL CHECK (cost_nano >= 0),
    price_nano_per_mtok  bigint NOT NULL CHECK (price_nano_per_mtok >= 0),
    multiplier_bp        integer NOT NULL CHECK (multiplier_bp >= 0),
    status_code          integer NOT NULL,
    error_code           text,
    fault                text NOT NULL CHECK (fault IN ('none', 'client', 'agent', 'router', 'policy')),
    finish_reason        text,
    cut_by_client        boolean NOT NULL,
    ttft_ms              integer,
    latency_ms           integer NOT NULL,
    queue_ms             integer NOT NULL,
    router_us            integer NOT NULL,
    retries              integer NOT NULL,
    region               text,
    ledger_tx_id         text,
    created_at           timestamptz NOT NULL,
    -- The inserting transaction; rollups advance by it, so that a late committer is never skipped.
    xid                  xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);

CREATE INDEX usage_events_by_request ON usage_events (request_id);
CREATE INDEX usage_events_by_xid ON usage_events (xid);

-- Takes rows of months without a partition, so that none is ever refused; it should stay empty.
CREATE TABLE usage_events_default PARTITION OF usage_events DEFAULT;

-- Makes the partitions of the month of `first` and of the `months` after it, where they are missing. Months are those of UTC.
CREATE FUNCTION create_usage_partitions(first timestamptz, months integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    month timestamp;
    name text;
BEGIN
    FOR number IN 0..months LOOP
        month := date_trunc('month', first AT TIME ZONE 'UTC') + make_interval(months => number);
        name := 'usage_events_' || to_char(month, 'YYYY_MM');
        IF to_regclass(name) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF usage_events FOR VALUES FROM (%L) TO (%L)',
                name, month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
        END IF;
    END LOOP;
END
$$;
