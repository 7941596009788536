import Jobs
import OpenAI
import Postgres
import Tenancy

/// Whose a key is after a request has asked for it.
package enum IdempotencyState: Equatable {
    /// The request's own: it shall run.
    case claimed
    case running
    /// The key came with another body before.
    case conflict
    /// - Parameter request: what was answered.
    case answered(status: Int, sealed: [UInt8], request: String)
}

extension TenantConnection {
    /// - Parameters:
    ///   - lease: seconds until a request that nobody renews counts as dead.
    ///   - kept: seconds for which a key is remembered.
    package func claim(_ key: IdempotencyKey, for request: String, lease: Double, kept: Double) throws -> IdempotencyState {
        let row = try query(
            """
            SELECT request_id, status, answer, fingerprint = \(key.fingerprint) AS is_same
            FROM idempotency_claim(\(project), \(key.scope), \(key.fingerprint), \(request), \(lease), \(kept))
            """)[0]
        let owner: String = try row.get("request_id")
        if owner == request { return .claimed }
        guard try row.get("is_same") else { return .conflict }
        guard let status: Int = try row.optional("status") else { return .running }
        return .answered(status: status, sealed: try row.get("answer"), request: owner)
    }

    /// Gives the key back, so that the request may be sent again. An answer that is stored stays.
    package func release(_ key: IdempotencyKey, of request: String) throws {
        try query(
            """
            DELETE FROM idempotency_keys
            WHERE project_id = \(project) AND scope = \(key.scope) AND request_id = \(request) AND status IS NULL
            """)
    }

    /// Puts a large answer where it will be when the request is completed.
    /// - Returns: false when the request has lost its key.
    package func prepare(_ key: IdempotencyKey, of request: String, _ sealed: [UInt8]) throws -> Bool {
        try !query(
            """
            UPDATE idempotency_keys SET answer = \(sealed)
            WHERE project_id = \(project) AND scope = \(key.scope) AND request_id = \(request) AND status IS NULL RETURNING 1
            """
        ).isEmpty
    }
}

extension IdempotencyKey {
    /// The error of a transaction whose request has lost its key to another one.
    package static let lost = "XI001"

    /// Stores the answer; to stand at the end of the transaction of what the request did.
    package func complete(_ request: String, status: Int, _ sealed: [UInt8]) -> SQL {
        "SELECT idempotency_complete(\(project), \(scope), \(request), \(status), \(sealed))"
    }
}

extension SystemConnection {
    /// Renews the leases of requests that still run. Rows that somebody holds now are left for the next time, so it waits for nobody.
    package func renew(_ claims: [(key: IdempotencyKey, request: String)], lease: Double) throws {
        try query(
            """
            UPDATE idempotency_keys k SET lease_expires_at = now() + make_interval(secs => \(lease))
            FROM (
                SELECT project_id, scope FROM idempotency_keys
                JOIN unnest(\(claims.map(\.key.project.description))::text[], \(claims.map(\.key.scope))::text[], \(claims.map(\.request))::text[])
                    AS mine (project_id, scope, request_id) USING (project_id, scope, request_id)
                WHERE status IS NULL FOR UPDATE OF idempotency_keys SKIP LOCKED) AS held
            WHERE k.project_id = held.project_id AND k.scope = held.scope
            """)
    }

    /// Forgets keys older than `kept` seconds, at most so many, and says how many they were.
    public func forgetIdempotencyKeys(olderThan kept: Double, most: Int) throws -> Int {
        try query(
            """
            DELETE FROM idempotency_keys k USING (
                SELECT project_id, scope FROM idempotency_keys
                WHERE created_at < now() - make_interval(secs => \(kept)) AND (status IS NOT NULL OR lease_expires_at < now())
                ORDER BY created_at LIMIT \(most) FOR UPDATE SKIP LOCKED) AS old
            WHERE k.project_id = old.project_id AND k.scope = old.scope RETURNING 1
            """
        ).count
    }
}

/// Completes keys with what the committer makes durable, in the same transaction. What a request did is settled whether it still has its key
/// or not, so here a lost one is no error; and twice is once.
enum IdempotencyCommit {
    static let statement = CommitStatement(
        name: "idempotency_complete",
        sql: """
            UPDATE idempotency_keys k SET status = done.status, answer = COALESCE(decode(done.answer, 'base64'), k.answer)
            FROM json_to_recordset($1::json) AS done (project_id text, scope text, request_id text, status smallint, answer text)
            WHERE k.project_id = done.project_id AND k.scope = done.scope AND k.request_id = done.request_id AND k.status IS NULL
                AND (done.answer IS NOT NULL OR k.answer IS NOT NULL)
            """)
}
