import Foundation
import OpenAI

/// Work that can wait, and is done by a worker: a row of `jobs`.
public enum QueuedJob: Identified { public static let idPrefix = "job_" }

/// Which workers do a job.
public struct JobQueue: Sendable, Hashable, CustomStringConvertible {
    public let name: String
    /// - Parameter name: of `[a-z_]`, at most 32 characters.
    public init(_ name: String) { self.name = name }
    public var description: String { name }
}

/// Higher ones go first, always.
public enum JobPriority: Int, Sendable { case low, normal, high }

/// A job to be written; see `enqueue`.
public struct NewJob: Sendable {
    public var queue: JobQueue
    /// Which handler of the worker does it.
    public var kind: String
    /// One JSON document, which the handler reads. No secrets: it is not sealed.
    public var payload: [UInt8]
    public var priority = JobPriority.normal
    /// Jobs of one lane take turns with those of others; nil = of the project.
    public var lane: String?
    /// While a job of the queue and project with this key is unfinished, another one is not written.
    public var uniqueKey: String?
    /// Seconds from now.
    public var delay = 0.0
    /// After so many failures it is dead, and waits for the operator.
    public var maxAttempts = 10

    public init(_ queue: JobQueue, _ kind: String, _ payload: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        self.init(queue, kind, json: Array(try encoder.encode(payload)))
    }

    public init(_ queue: JobQueue, _ kind: String, json: [UInt8] = Array("{}".utf8)) {
        self.queue = queue
        self.kind = kind
        payload = json
    }
}

/// A job that a worker has claimed.
public struct Job: Sendable {
    public var id: ID<QueuedJob>
    /// nil = the platform's own.
    public var project: ID<Project>?
    public var queue: JobQueue
    public var kind: String
    public var lane: String
    public var payload: [UInt8]
    /// From 1.
    public var attempt: Int
    public var maxAttempts: Int
    /// Rises with each claim: who works under an older one has lost the job.
    var generation: Int64
    /// Seconds between the time at which it could run and its claim.
    var waited: Double

    public func payload<Value: Decodable>(as type: Value.Type = Value.self) throws -> Value {
        try JSONDecoder().decode(type, from: Data(payload))
    }
}

/// Why an attempt at a job ends without its effect; thrown by handlers. Any other error is a retry, too, whose reason is only in the log.
public enum JobFailure: Error, Sendable {
    /// Once more after so many seconds, without jitter; nil = by the usual backoff. The reason is stored and shown to the operator.
    case retry(after: Double? = nil, String)
    /// Never again by itself.
    case dead(String)
}

/// The job belongs to somebody else by now, or has ended: nothing of this attempt was committed.
public struct JobLost: Error, Sendable {
    public init() {}
}

/// How long to wait between two attempts: one second, doubled each time, at most ten minutes, a fifth more or less by chance.
public struct JobBackoff: Sendable {
    public var first = 1.0
    public var most = 600.0
    public var jitter = 0.2

    public init() {}

    /// - Parameters:
    ///   - attempt: the one that has failed, from 1.
    ///   - chance: from 0 to 1.
    public func seconds(after attempt: Int, chance: Double) -> Double {
        min(most, first * Double(1 << min(max(0, attempt - 1), 30))) * (1 + jitter * (2 * chance - 1))
    }
}
