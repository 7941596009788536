import OpenAI
import Server

/// When a key shall end.
public enum KeyExpiry: Sendable, Equatable {
    case never
    /// Unix seconds.
    case at(Int)
    case inDays(Int)

    var unixSeconds: Int? { if case .at(let seconds) = self { seconds } else { nil } }
    var days: Int? { if case .inDays(let days) = self { days } else { nil } }
}

/// What a new key shall be.
public struct NewKey: Sendable, Equatable {
    public var name: String
    public var scopes: [Scope]
    /// The only endpoint it may use, by identifier or slug.
    public var endpoint: String?
    public var expiry: KeyExpiry
    public var ipFilter: IPFilterRules?
    public var quota: KeyQuota?
    public var isService: Bool

    public init(
        name: String, scopes: [Scope], endpoint: String? = nil, expiry: KeyExpiry = .never, ipFilter: IPFilterRules? = nil,
        quota: KeyQuota? = nil, isService: Bool = false
    ) {
        self.name = name
        self.scopes = scopes
        self.endpoint = endpoint
        self.expiry = expiry
        self.ipFilter = ipFilter
        self.quota = quota
        self.isService = isService
    }
}

/// What shall be changed of a key; nil = as it is.
public struct KeyChange: Sendable, Equatable {
    public var name: String?
    /// A part of the present ones.
    public var scopes: [Scope]?
    public var expiry: KeyExpiry?

    public init(name: String? = nil, scopes: [Scope]? = nil, expiry: KeyExpiry? = nil) {
        self.name = name
        self.scopes = scopes
        self.expiry = expiry
    }
}

/// Which keys a list shall show; nil = all.
public struct KeyFilter: Sendable, Equatable {
    public var isActive: Bool?
    public var scope: Scope?

    public init(isActive: Bool? = nil, scope: Scope? = nil) {
        self.isActive = isActive
        self.scope = scope
    }
}

/// What keys may hold; `param` names the field that does not.
public enum KeyRules {
    public static let longestGrace = 604_800
    public static let defaultGrace = 86_400
    public static let longestDays = 3_650
    /// The end of the year 9999, the last that Postgres' and everybody's dates agree on.
    public static let lastSecond = 253_402_300_799

    public static func check(name: String) throws {
        let isBlank = name.allSatisfy(\.isWhitespace)
        guard (1...64).contains(name.unicodeScalars.count), !isBlank,
            name.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F })
        else { throw APIError.invalid("name", "A key's name has 1 to 64 characters, no control characters, and is not blank.") }
    }

    /// Reads the names of scopes; the older, finer ones are read as `inference`.
    public static func scopes(_ names: [String]) throws -> [Scope] {
        let scopes = try names.map { name -> Scope in
            if ["chat", "models", "embeddings", "responses"].contains(name) { return .inference }
            guard let scope = Scope(rawValue: name) else {
                throw APIError(.invalidScope, "'\(name.prefix(64))' is not a scope: inference, management or execution.", param: "scopes")
            }
            return scope
        }
        guard !scopes.isEmpty else { throw APIError(.invalidScope, "A key has at least one scope.", param: "scopes") }
        return Scope.allCases.filter(scopes.contains)
    }

    public static let quotaRequests = 1...1_000_000_000
    public static let quotaWindow = 60...86_400
    public static let quotaTokens = 1...1_000_000_000_000

    static func check(_ quota: KeyQuota) throws {
        try check(quota.requests, "quota.requests", in: quotaRequests)
        try check(quota.windowSeconds, "quota.window_seconds", in: quotaWindow)
        try quota.tokens.map { try check($0, "quota.tokens", in: quotaTokens) }
    }

    private static func check(_ value: Int, _ name: String, in range: ClosedRange<Int>) throws {
        guard range.contains(value) else {
            throw APIError.invalid(name, "'\(name)' must be between \(range.lowerBound) and \(range.upperBound).")
        }
    }

    static let pastExpiry = APIError.invalid("expires_at", "The expiry is in the past.")
}
