import Crypto
import Foundation
import JSON
import Jobs
import Postgres

/// The key of a request that runs: nobody else runs the same one meanwhile. It belongs to the request's thread, and ends with an answer that is
/// stored, or by giving the key back.
public final class IdempotencyClaim {
    private let key: IdempotencyKey
    private let request: String
    private let sealer: ProjectSealer
    private let idempotency: Idempotency
    private var isOver = false

    /// Larger answers do not go through the committer's batches.
    private static let largestInBatch = 256 << 10

    init(_ key: IdempotencyKey, _ request: String, _ sealer: ProjectSealer, of idempotency: Idempotency) {
        self.key = key
        self.request = request
        self.sealer = sealer
        self.idempotency = idempotency
    }

    /// The statement that stores the answer, for the end of the transaction of what the request did; call `completed` after that.
    func completion(_ response: Response) throws -> [SQL] {
        // The transaction has begun, so the store is not asked now.
        guard let sealed = try seal(response, mayAskStore: false) else { return [] }
        return [key.complete(request, status: response.status, sealed)]
    }

    /// The row that stores the answer together with the others of a commit; call `completed` after that.
    /// - Returns: nil for an answer that is not stored. What is produced is billed whether it can be replayed or not, so this throws nothing.
    public func commitRow(_ response: Response) -> CommitRow? {
        do {
            guard let sealed = try seal(response) else { return nil }
            var inBatch: [UInt8]? = sealed
            if sealed.count > Self.largestInBatch {
                do {
                    guard try idempotency.prepare(key, request, sealed) else { return nil }
                    inBatch = nil
                } catch {
                    // Postgres is away: the journal takes it with the rest.
                }
            }
            return row(status: response.status, inBatch)
        } catch {
            idempotency.note(error, request)
            return nil
        }
    }

    /// The answer is stored.
    public func completed() {
        isOver = true
        idempotency.forget(request)
    }

    /// Gives the key back, unless the answer is stored: the request may be sent again.
    public func release() {
        guard !isOver else { return }
        idempotency.giveBack(key, request)
        completed()
    }

    /// Stores the answer of a request that has written nothing, such as an error of the client, or whose effect is not in our database; gives the
    /// key back for other errors.
    public func conclude(_ response: Response) {
        guard !isOver else { return }
        do {
            guard let sealed = try seal(response) else { return release() }
            try idempotency.complete(key, request, status: response.status, sealed)
            completed()
        } catch {
            idempotency.note(error, request)
            release()
        }
    }

    private func seal(_ response: Response, mayAskStore: Bool = true) throws -> [UInt8]? {
        guard var bytes = StoredAnswer.encode(response) else { return nil }
        if mayAskStore { bytes = idempotency.forRow(bytes, key, request) }
        return try sealer.seal(kind: Idempotency.kind, object: key.scope, bytes)
    }

    private func row(status: Int, _ sealed: [UInt8]?) -> CommitRow {
        var json = JSONWriter(capacity: 256 + 2 * (sealed?.count ?? 0))
        json.raw(#"{"project_id":"#)
        json.string(key.project.description)
        json.raw(#","scope":"#)
        json.string(key.scope)
        json.raw(#","request_id":"#)
        json.string(request)
        json.raw(#","status":"#)
        json.integer(status)
        json.raw(#","answer":"#)
        if let sealed {
            json.raw(#"""# as StaticString)
            json.raw(Array(Data(sealed).base64EncodedData()))
            json.raw(#"""# as StaticString)
        } else {
            json.raw("null" as StaticString)
        }
        json.raw("}" as StaticString)
        return CommitRow(statement: IdempotencyCommit.statement, json: json.bytes)
    }
}
