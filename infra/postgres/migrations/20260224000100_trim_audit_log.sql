-- Lines of the audit log are kept for 400 days (08 §2.4). The oldest of a chain go after its head has noted the hash that the kept ones follow, so that
-- the chain can still be verified.

CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- No role but the owner may delete at all; this keeps the owner from doing it by mistake.
    IF TG_OP = 'DELETE' AND current_setting('xerotier.trims_audit', true) = 'yes' THEN RETURN NULL; END IF;
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;

-- Removes lines that were written before `older_than`, the oldest of each chain first, `most` in all; answers how many. A chain whose head somebody
-- holds waits for the next call. One in which a line is missing stays as it is: what is left of it is evidence.
CREATE FUNCTION trim_audit_log(older_than timestamptz, most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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
REVOKE EXECUTE ON FUNCTION trim_audit_log FROM PUBLIC;
GRANT EXECUTE ON FUNCTION trim_audit_log TO xerotier_system;
