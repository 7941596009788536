-- What a request with an Idempotency-Key was answered (04 §9). Neither the key nor the path nor the body stands here: of the first two there is
-- a hash, of the last one another, and the answer is sealed.

CREATE TABLE idempotency_keys (
    project_id        text NOT NULL,
    -- SHA-256 of who asks, method, path and key, in base64url.
    scope             text COLLATE "C" NOT NULL CHECK (octet_length(scope) = 43),
    -- SHA-256 of the body.
    fingerprint       bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    -- The request that runs or has run. Whoever takes the key over puts its own here, so a request that lost the key finds its row no more.
    request_id        text NOT NULL,
    -- NULL = the request runs.
    status            smallint CHECK (status BETWEEN 200 AND 499),
    -- Headers and body. Large ones are here before the status is.
    answer            bytea,
    -- When a request that nobody renews counts as dead.
    lease_expires_at  timestamptz NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, scope),
    CHECK (status IS NULL OR answer IS NOT NULL)
) WITH (fillfactor = 80);

-- Sealed bytes cannot be compressed.
ALTER TABLE idempotency_keys ALTER COLUMN answer SET STORAGE EXTERNAL;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON idempotency_keys FOR ALL TO xerotier_tenant
    USING (project_id = current_setting('xerotier.project', true)) WITH CHECK (project_id = current_setting('xerotier.project', true));
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO xerotier_tenant;
GRANT SELECT, UPDATE, DELETE ON idempotency_keys TO xerotier_system;

-- Takes a key for a request: when it is new, older than `kept` seconds, or its request is dead and had the same body. The row that is returned is
-- the request's own then (its request_id is `request`); otherwise it is what stands in the way.
CREATE FUNCTION idempotency_claim(project text, key_scope text, body bytea, request text, lease double precision, kept double precision)
RETURNS idempotency_keys LANGUAGE plpgsql AS $$
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

-- Stores the answer, in the transaction of what the request did. A request that has lost its key must do nothing: the whole transaction fails.
CREATE FUNCTION idempotency_complete(project text, key_scope text, request text, answer_status integer, sealed bytea)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE idempotency_keys SET status = answer_status, answer = sealed
    WHERE project_id = project AND scope = key_scope AND request_id = request AND status IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the request has lost its idempotency key' USING ERRCODE = 'XI001';
    END IF;
END
$$;

REVOKE EXECUTE ON FUNCTION idempotency_claim, idempotency_complete FROM PUBLIC;
GRANT EXECUTE ON FUNCTION idempotency_claim, idempotency_complete TO xerotier_tenant;
