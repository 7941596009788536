import Jobs
import OpenAI
import Postgres
import Tenancy

extension Idempotency {
    /// What a committer must know, to complete keys with what it makes durable.
    public static let statements = [IdempotencyCommit.statement]
}

extension Context {
    /// Takes the request's Idempotency-Key, if it has one; to be called once it is known to be well-formed, before anything is done for it.
    ///
    /// With a key the request must end in one of two ways: `claim` is completed together with its effect, or the server, when the handler has
    /// thrown, stores the client's error or gives the key back.
    /// - Returns: the answer of the same request before, which is to be given again.
    public func replay(of request: Request) throws -> Response? {
        guard let key = try IdempotencyKey(request, of: principal) else { return nil }
        guard let idempotency = services.idempotency else { throw APIError.unavailable() }
        switch try idempotency.start(key, requestID) {
        case .replay(let response): return response
        case .run(let claim):
            self.claim = claim
            return nil
        }
    }

    /// Writes for the request's project, in one transaction that `body` fills and whose answer it gives. With an Idempotency-Key the answer is
    /// stored at the end of the transaction: either both are there or neither, whatever dies when.
    ///
    /// Tell others (`Invalidations`) after it has returned.
    public func write(
        _ request: Request, to database: TenantDatabase, _ body: (TenantConnection) throws -> Response
    ) throws -> Response {
        if let replayed = try replay(of: request) { return replayed }
        let claim = claim
        do {
            let response = try database.withConnection(of: principal.projectID) { connection in
                try connection.transaction {
                    try body(connection)
                } last: {
                    try claim?.completion($0) ?? []
                }
            }
            claim?.completed()
            return response
        } catch let error as PostgresError where error.sqlState == IdempotencyKey.lost {
            throw Idempotency.inProgress
        }
    }
}
