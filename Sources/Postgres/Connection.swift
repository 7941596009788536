import CPostgres
import Foundation

/// How a connection is made and how long its calls may take.
public struct ConnectionOptions: Sendable {
    /// libpq rounds up to whole seconds, at least 2.
    public var connectTimeoutSeconds = 3
    /// The server ends a statement that runs longer (`57014`).
    public var statementTimeoutMilliseconds = 10_000
    /// When the server says nothing for this much longer than the statement may run, the connection counts as lost.
    public var silenceMilliseconds = 2_000
    public var applicationName = "xerotier"
    /// Logs in as this user instead of the URL's.
    public var user: String?
    /// The role that statements run as, if it is not the user itself.
    public var role: String?

    public init() {}
}

/// A setting of the session that statements depend on, such as row-level security's project.
public struct SessionSetting: Sendable, Equatable {
    public var name: String
    public var value: String

    public init(name: String, value: String) {
        self.name = name
        self.value = value
    }
}

/// One connection. It belongs to one thread at a time; a pool lends it. See postgresql.org/docs/current/libpq.html
public final class Connection {
    private let handle: OpaquePointer
    private let options: ConnectionOptions
    /// Names of prepared statements by their text.
    private var prepared: [String: String] = [:]
    /// What the session is set to, as far as it is certain.
    private var inForce: SessionSetting?
    private var isLost = false
    /// A part of the running transaction has failed.
    private var isPartRolledBack = false

    /// More texts than this are not prepared: the code holds a fixed number of statements.
    private static let preparedLimit = 512

    /// Connects, or throws `cannotConnect`.
    public init(url: String, options: ConnectionOptions = ConnectionOptions()) throws {
        let settings: KeyValuePairs = [
            "dbname": url, "connect_timeout": String(options.connectTimeoutSeconds), "client_encoding": "UTF8",
            "application_name": options.applicationName, "user": options.user ?? "",
        ]
        let made = withCStrings(settings.map(\.key)) { names in
            withCStrings(settings.map(\.value)) { values in PQconnectdbParams(names, values, 1) }
        }
        guard let made else { throw PostgresError.cannotConnect("out of memory") }
        guard PQstatus(made) == CONNECTION_OK, PQsetnonblocking(made, 1) == 0 else {
            defer { PQfinish(made) }
            throw PostgresError.cannotConnect(errorText(made))
        }
        handle = made
        self.options = options
        PQsetNoticeProcessor(handle, ignoreNotice, nil)
        let role = options.role.map { "; SET ROLE \($0)" } ?? ""
        try execute("SET statement_timeout = \(options.statementTimeoutMilliseconds)\(role)")
    }

    deinit { PQfinish(handle) }

    /// Runs one statement, prepared on its first use, and returns its rows.
    @discardableResult
    public func query(_ sql: SQL) throws -> [Row] { try run(sql).rows }

    /// Runs one statement with a setting in force. Where the session has another one, the setting goes ahead of the statement in the same
    /// round trip.
    @discardableResult
    public func query(_ sql: SQL, under setting: SessionSetting) throws -> [Row] {
        guard inForce != setting else { return try run(sql).rows }
        return try run(sql, after: setting).rows
    }

    /// Runs statements without values, separated by semicolons; several of them are one transaction unless the script says otherwise.
    public func execute(_ script: String) throws {
        guard PQsendQuery(handle, script) == 1 else { throw lost() }
        _ = try finish()
    }

    /// Runs several statements in one round trip and returns the rows of the last. Where no transaction is open the server makes them one:
    /// all take effect, or none.
    @discardableResult
    public func query(together statements: [SQL]) throws -> [Row] { try pipeline(statements).rows }

    /// Runs `body` in a transaction: committed when it returns, rolled back when it throws. Inside of a transaction it is a part of that one,
    /// which is then rolled back as a whole.
    ///
    /// - Throws: what `body` threw; `connectionLost` when the outcome of the commit is unknown.
    public func transaction<Value>(_ body: () throws -> Value) throws -> Value { try transaction(body) { _ in [] } }

    /// - Parameter last: what is to be the end of the transaction; it travels with the COMMIT, so it costs no round trip.
    public func transaction<Value>(_ body: () throws -> Value, last: (Value) throws -> [SQL]) throws -> Value {
        guard PQtransactionStatus(handle) != PQTRANS_INTRANS else { return try part(body, last) }
        try run("BEGIN")
        isPartRolledBack = false
        do {
            let value = try body()
            let statements = try last(value)
            if isPartRolledBack { throw PostgresError.transactionRolledBack }
            // The server answers ROLLBACK to the COMMIT of a transaction in which a statement failed.
            guard try pipeline(statements + ["COMMIT"]).command == "COMMIT" else { throw PostgresError.transactionRolledBack }
            return value
        } catch {
            if isUsable, PQtransactionStatus(handle) != PQTRANS_IDLE {
                // A failure here breaks the connection, and with it the transaction ends as well.
                do { try run("ROLLBACK") } catch { isLost = true }
            }
            throw error
        }
    }

    /// A transaction inside of another one. Should its error be swallowed on the way, the other one must not commit a half.
    private func part<Value>(_ body: () throws -> Value, _ last: (Value) throws -> [SQL]) throws -> Value {
        do {
            let value = try body()
            for statement in try last(value) { try run(statement) }
            return value
        } catch {
            isPartRolledBack = true
            throw error
        }
    }

    /// Interrupts, from any thread, the statement that runs on this connection.
    public func canceller() -> Canceller? { PQgetCancel(handle).map(Canceller.init) }

    /// Whether a pool may lend the connection again: alive and outside of any transaction.
    var isReusable: Bool { isUsable && PQtransactionStatus(handle) == PQTRANS_IDLE }

    /// Whether the server has closed the connection, or said something unasked, while it lay idle.
    var isStale: Bool {
        var descriptor = pollfd(fd: PQsocket(handle), events: Int16(POLLIN), revents: 0)
        return poll(&descriptor, 1, 0) != 0
    }

    private var isUsable: Bool { !isLost && PQstatus(handle) == CONNECTION_OK }

    @discardableResult
    private func run(_ sql: SQL) throws -> Result {
        let parameters = try Parameters(sql.values)
        try send(sql.text, prepared: statementName(for: sql.text), parameters)
        return try finish()
    }

    private func run(_ sql: SQL, after setting: SessionSetting) throws -> Result {
        inForce = setting
        do {
            return try pipeline([Self.set(setting), sql])
        } catch {
            // The setting was taken back with the statement that failed.
            inForce = nil
            throw error
        }
    }

    private static func set(_ setting: SessionSetting) -> SQL { "SELECT set_config(\(setting.name), \(setting.value), false)" }

    /// All in one round trip, as one transaction where none is open: postgresql.org/docs/current/libpq-pipeline-mode.html
    private func pipeline(_ statements: [SQL]) throws -> Result {
        if statements.count == 1 { return try run(statements[0]) }
        let names = try statements.map { try statementName(for: $0.text) }
        let parameters = try statements.map { try Parameters($0.values) }
        guard PQenterPipelineMode(handle) == 1 else { throw lost() }
        for (index, statement) in statements.enumerated() { try send(statement.text, prepared: names[index], parameters[index]) }
        guard PQpipelineSync(handle) == 1 else { throw lost() }
        return try finishPipeline(of: statements.count)
    }

    private func statementName(for text: String) throws -> String? {
        if let name = prepared[text] { return name }
        guard prepared.count < Self.preparedLimit else { return nil }
        let name = "s\(prepared.count)"
        guard PQsendPrepare(handle, name, text, 0, nil) == 1 else { throw lost() }
        _ = try finish()
        prepared[text] = name
        return name
    }

    private func send(_ text: String, prepared name: String?, _ parameters: Parameters) throws {
        let sent = parameters.withPointers {
            guard let name else { return PQsendQueryParams(handle, text, $0, nil, $1, $2, $3, 0) }
            return PQsendQueryPrepared(handle, name, $0, $1, $2, $3, 0)
        }
        guard sent == 1 else { throw lost() }
    }

    /// Waits for all that the server answers; the last result counts, unless one before it is an error.
    private func finish() throws -> Result {
        let deadline = ContinuousClock.now + .milliseconds(options.statementTimeoutMilliseconds + options.silenceMilliseconds)
        try flush(until: deadline)
        var answer = Answer()
        while let result = try nextResult(until: deadline), note(result, in: &answer) {}
        return try conclude(answer)
    }

    /// Each statement's results end with a nil, the pipeline's with a result of its own.
    private func finishPipeline(of statements: Int) throws -> Result {
        let deadline = ContinuousClock.now + .milliseconds(options.statementTimeoutMilliseconds + options.silenceMilliseconds)
        try flush(until: deadline)
        var answer = Answer()
        var ended = 0
        while ended <= statements {
            guard let result = try nextResult(until: deadline) else {
                ended += 1
                continue
            }
            if result.status == PGRES_PIPELINE_SYNC {
                guard PQexitPipelineMode(handle) == 1 else { throw lost() }
                return try conclude(answer)
            }
            if result.status == PGRES_PIPELINE_ABORTED { continue }
            guard note(result, in: &answer) else { break }
            if let failure = answer.failure, failure.endsConnection || failure.sqlState.isEmpty { break }
        }
        // Without its end the pipeline, and so the connection, is of no more use.
        isLost = true
        return try conclude(answer)
    }

    private struct Answer {
        var last: Result?
        var failure: ServerMessage?
    }

    /// Returns whether more results may follow.
    private func note(_ result: Result, in answer: inout Answer) -> Bool {
        if result.status == PGRES_FATAL_ERROR && answer.failure == nil { answer.failure = result.serverMessage }
        if let copy = copyState(of: result) {
            answer.failure = answer.failure ?? copy
            return false
        }
        // Settings made in the transaction are taken back with it.
        if result.command == "ROLLBACK" { inForce = nil }
        answer.last = result
        return true
    }

    private func conclude(_ answer: Answer) throws -> Result {
        if let failure = answer.failure {
            if failure.sqlState.isEmpty || PQstatus(handle) != CONNECTION_OK { throw lost() }
            if failure.endsConnection {
                isLost = true
                throw PostgresError.connectionLost(failure.message)
            }
            throw PostgresError.server(failure)
        }
        guard let last = answer.last else { throw lost() }
        return last
    }

    /// COPY would leave the connection in a state that this wrapper does not serve.
    private func copyState(of result: Result) -> ServerMessage? {
        guard result.status == PGRES_COPY_IN || result.status == PGRES_COPY_OUT || result.status == PGRES_COPY_BOTH else { return nil }
        isLost = true
        return ServerMessage(sqlState: "0A000", message: "COPY is not supported here.")
    }

    private func nextResult(until deadline: ContinuousClock.Instant) throws -> Result? {
        while PQisBusy(handle) == 1 {
            try wait(for: POLLIN, until: deadline)
            guard PQconsumeInput(handle) == 1 else { throw lost() }
        }
        return PQgetResult(handle).map(Result.init)
    }

    /// Sends what is left, and reads meanwhile: a server that waits for us to read would not read either.
    private func flush(until deadline: ContinuousClock.Instant) throws {
        while true {
            switch PQflush(handle) {
            case 0: return
            case 1:
                try wait(for: POLLIN | POLLOUT, until: deadline)
                guard PQconsumeInput(handle) == 1 else { throw lost() }
            default: throw lost()
            }
        }
    }

    private func wait(for events: Int32, until deadline: ContinuousClock.Instant) throws {
        var descriptor = pollfd(fd: PQsocket(handle), events: Int16(events), revents: 0)
        while true {
            let left = (deadline - .now) / .milliseconds(1)
            guard left > 0 else {
                isLost = true
                throw PostgresError.connectionLost("The server did not answer in time.")
            }
            let ready = poll(&descriptor, 1, Int32(left.rounded(.up)))
            if ready > 0 { return }
            if ready < 0 && errno != EINTR { throw lost() }
        }
    }

    /// After a failed call of libpq: broken connections report their reason; the others refused our arguments.
    private func lost() -> PostgresError {
        isLost = true
        return .connectionLost(errorText(handle))
    }
}

/// Interrupts a running statement; it then fails with `57014`.
///
/// `@unchecked Sendable`: libpq copies what it needs into the `PGcancel`, never changes it, and documents `PQcancel` as thread-safe.
public final class Canceller: @unchecked Sendable {
    private let pointer: OpaquePointer

    init(_ pointer: OpaquePointer) { self.pointer = pointer }
    deinit { PQfreeCancel(pointer) }

    /// Returns whether the request reached the server.
    @discardableResult
    public func cancel() -> Bool {
        var text = [CChar](repeating: 0, count: 256)
        return PQcancel(pointer, &text, Int32(text.count)) == 1
    }
}

/// Notices and warnings would go to stderr; errors do not come this way.
private func ignoreNotice(context: UnsafeMutableRawPointer?, message: UnsafePointer<CChar>?) {}

private func errorText(_ handle: OpaquePointer) -> String {
    String(cString: PQerrorMessage(handle)).trimmingCharacters(in: .whitespacesAndNewlines)
}

/// A NULL-terminated array of C strings that live during `body`.
private func withCStrings<Value>(_ texts: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>?) -> Value) -> Value {
    let copies = texts.map { strdup($0) }
    defer { copies.forEach { free($0) } }
    let pointers = copies.map { UnsafePointer($0) } + [nil]
    return pointers.withUnsafeBufferPointer { body($0.baseAddress) }
}
