import Crypto
import Logging
import OpenAI
import Postgres
import Server
import Tenancy

/// Authenticates by API keys, from records that are at most a second old.
///
/// Postgres away: a key that was read within the last second still works; any other request is 503, never 401.
public final class KeyAuthenticator: Authenticator {
    private let keys: FreshCache<SHA256Digest, KeyRecord>
    private let projects: FreshCache<String, ID<Project>>
    private let uses: KeyUses

    /// - Parameter capacity: the most keys that are remembered, and as many wrong ones.
    public init(database: SystemDatabase, capacity: Int = 20_000, logger: Logger) {
        keys = FreshCache(capacity: capacity) { digest in try database.withConnection { try $0.key(digest: digest) } }
        projects = FreshCache(capacity: capacity) { name in try database.withConnection { try $0.project(named: name) } }
        uses = KeyUses(database: database, logger: logger)
        keys.startRefreshing(name: "keys")
        projects.startRefreshing(name: "projects")
        uses.start()
    }

    public func principal(bearer text: String) throws -> Principal {
        guard let key = KeyText(text) else { throw AccountError.badKey }
        guard let record = try available({ try keys.value(for: key.digest) }) else { throw AccountError.badKey }
        switch record.standing {
        case .revoked: throw AccountError.badKey
        case .expired: throw AccountError.expiredKey
        case .valid: break
        }
        uses.note(record.principal.keyID)
        return record.principal
    }

    public func projectID(named segment: String) throws -> ID<Project>? {
        guard Slug.isProject(segment) || ID<Project>(segment) != nil else { return nil }
        return try available { try projects.value(for: segment) }
    }

    /// Forgets what a message of the invalidation channel names: `key:<id>` or `project:<id>`; others are not for us.
    public func invalidate(message: String) {
        let parts = message.split(separator: ":", maxSplits: 1)
        guard parts.count == 2 else { return }
        switch parts[0] {
        // A new or rotated key may have been asked for before it existed, so absences go as well.
        case "key": keys.invalidate { _, record in record.map { $0.principal.keyID.description == parts[1] } ?? true }
        case "project":
            keys.invalidate { _, record in record.map { $0.principal.projectID.description == parts[1] } ?? true }
            projects.flush()
        default: break
        }
    }

    /// Forgets everything, for when messages may have been missed.
    public func flush() {
        keys.flush()
        projects.flush()
    }

    /// Ends the background threads and writes the last uses.
    public func shutdown() {
        keys.stop()
        projects.stop()
        uses.stop()
    }

    /// Faults of the database are ours, whatever the key.
    private func available<Value>(_ body: () throws -> Value) throws -> Value {
        do {
            return try body()
        } catch let error as PostgresError where error.isUnavailable {
            throw AccountError.recordsUnavailable
        }
    }
}

/// Why nobody could be authenticated.
public enum AccountError: APIErrorConvertible, Equatable {
    /// Missing, of another form, unknown or revoked: one answer for all.
    case badKey
    case expiredKey
    case recordsUnavailable
    /// There is no such key, or not for who asks.
    case noSuchKey
    case permissionDenied(String)

    public var apiError: APIError {
        switch self {
        case .badKey: APIError(.authenticationError, "Invalid API key.")
        case .expiredKey: APIError(.apiKeyExpired, "The API key has expired.")
        case .recordsUnavailable: .unavailable()
        case .noSuchKey: APIError(.keyNotFound, "There is no such API key.")
        case .permissionDenied(let message): APIError(.permissionDenied, message)
        }
    }
}
