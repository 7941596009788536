-- Who changed what (08 §2.4). The rows of a project form a chain: each holds the hash of the one before, so that a row that was altered,
-- removed or moved is found. Rows without a project belong to the chain `platform`.

CREATE TABLE audit_log (
    id           text PRIMARY KEY CHECK (id ~ '^aud_[0-9a-z]{24}$'),
    project_id   text,
    -- The place in its chain, from 1 without gaps.
    seq          bigint NOT NULL,
    at           timestamptz NOT NULL,
    actor_type   text NOT NULL CHECK (actor_type IN ('user', 'key', 'system')),
    actor_id     text NOT NULL,
    action       text NOT NULL CHECK (action ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$'),
    target_type  text NOT NULL,
    target_id    text NOT NULL,
    ip           text,
    user_agent   text CHECK (char_length(user_agent) <= 256),
    request_id   text,
    before       jsonb,
    after        jsonb,
    prev_hash    bytea NOT NULL CHECK (octet_length(prev_hash) = 32),
    hash         bytea NOT NULL CHECK (octet_length(hash) = 32),
    UNIQUE NULLS NOT DISTINCT (project_id, seq)
);

CREATE INDEX audit_log_by_time ON audit_log (project_id, at);

-- The end of each chain, and where its kept part begins: rows up to trimmed_seq were dropped when they had become too old.
CREATE TABLE audit_heads (
    chain         text PRIMARY KEY,
    seq           bigint NOT NULL,
    hash          bytea NOT NULL,
    trimmed_seq   bigint NOT NULL,
    trimmed_hash  bytea NOT NULL
);

-- What of a row its hash covers: everything but the hashes, as one JSON array. jsonb writes equal values as equal texts.
CREATE FUNCTION audit_canonical(entry audit_log) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_array(
        entry.id, entry.project_id, entry.seq, to_char(entry.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), entry.actor_type,
        entry.actor_id, entry.action, entry.target_type, entry.target_id, entry.ip, entry.user_agent, entry.request_id, entry.before,
        entry.after)::text
$$;

-- Puts a new row at the end of its chain. The head's row stays locked until the transaction ends, so a chain never forks. It works with the
-- owner's rights: writers of the log cannot reach the heads.
CREATE FUNCTION audit_chain() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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

REVOKE EXECUTE ON FUNCTION audit_chain FROM PUBLIC;

CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER audit_log_is_chained BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_chain();
CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON audit_log FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));

REVOKE ALL ON audit_log, audit_heads FROM PUBLIC, xerotier_tenant, xerotier_system;
GRANT SELECT, INSERT ON audit_log TO xerotier_tenant, xerotier_system;
GRANT SELECT ON audit_heads TO xerotier_system;
