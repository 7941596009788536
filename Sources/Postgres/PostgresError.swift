/// What the server said about a statement it refused.
public struct ServerMessage: Sendable, Equatable {
    /// The five characters of `SQLSTATE`, such as `23505`.
    public var sqlState: String
    public var message: String
    /// The constraint that was violated, where one was.
    public var constraint: String?
    public var detail: String?

    public init(sqlState: String, message: String, constraint: String? = nil, detail: String? = nil) {
        self.sqlState = sqlState
        self.message = message
        self.constraint = constraint
        self.detail = detail
    }
}

/// Why a call of the database failed.
public enum PostgresError: Error, Sendable, Equatable {
    /// Every connection was lent for longer than the pool lets a caller wait; nothing was sent.
    case poolExhausted
    /// No connection could be made; nothing was sent.
    case cannotConnect(String)
    /// The connection broke, or the server was silent for too long. What was running may or may not have been committed.
    case connectionLost(String)
    /// The server refused the statement; its transaction is rolled back.
    case server(ServerMessage)
    /// A result has no such column, or its value is not of the type asked for.
    case column(String, problem: String)
    /// A value that Postgres cannot hold, such as a text with a NUL; nothing was sent.
    case invalidParameter(String)

    public var sqlState: String? {
        guard case .server(let message) = self else { return nil }
        return message.sqlState
    }

    /// Whether the database is away for now, so that the same call may succeed later without a change.
    public var isUnavailable: Bool {
        switch self {
        case .poolExhausted, .cannotConnect, .connectionLost: true
        case .server(let message): message.isUnavailable
        case .column, .invalidParameter: false
        }
    }

    /// Whether the transaction lost against another one, so that it may simply be run again.
    public var isTransient: Bool {
        switch sqlState {
        case "40001", "40P01", "55P03": true
        default: false
        }
    }

    /// A COMMIT after a failure that nobody let travel.
    static let transactionRolledBack = PostgresError.server(ServerMessage(sqlState: "25P02", message: "The transaction was rolled back."))

    /// Whether it is unknown if the statement took effect.
    public var isOutcomeUnknown: Bool {
        if case .connectionLost = self { true } else { false }
    }
}

extension ServerMessage {
    /// Connection faults, missing resources, shutdown, a time limit, and a standby that does not take writes.
    var isUnavailable: Bool {
        sqlState.hasPrefix("08") || sqlState.hasPrefix("53") || sqlState.hasPrefix("57") || sqlState == "25006"
    }

    /// Whether the server closes the connection after this message.
    var endsConnection: Bool { sqlState.hasPrefix("08") || sqlState.hasPrefix("57P") }
}
