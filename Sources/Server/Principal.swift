import OpenAI

/// What a key opens.
public enum Scope: String, Sendable, CaseIterable, Codable { case inference, management, execution }

/// Who asks: the project and the key of an authenticated request.
public struct Principal: Sendable, Equatable {
    public let projectID: ID<Project>
    public let projectSlug: String
    public let keyID: ID<APIKey>
    public let userID: String?
    public let scopes: Set<Scope>
    /// The only endpoint (by slug) this key may use, if any.
    public let endpointPin: String?
    /// nil for the keys that have none, which are most.
    public let restrictions: KeyRestrictions?
    /// Rises with each change of the project's budgets; 0 = there never was one.
    public let budgetGeneration: Int

    public init(
        projectID: ID<Project>, projectSlug: String, keyID: ID<APIKey>, userID: String? = nil, scopes: Set<Scope>,
        endpointPin: String? = nil, restrictions: KeyRestrictions? = nil, budgetGeneration: Int = 0
    ) {
        self.projectID = projectID
        self.projectSlug = projectSlug
        self.keyID = keyID
        self.userID = userID
        self.scopes = scopes
        self.endpointPin = endpointPin
        self.restrictions = restrictions
        self.budgetGeneration = budgetGeneration
    }
}

/// What a key may not do although its scopes would let it. A class, so that a principal stays small to copy.
public final class KeyRestrictions: Sendable, Equatable {
    public let ipFilter: IPFilter?
    public let quota: KeyQuota?

    /// nil when there is nothing to restrict.
    public init?(ipFilter: IPFilter?, quota: KeyQuota?) {
        if ipFilter == nil && quota == nil { return nil }
        self.ipFilter = ipFilter
        self.quota = quota
    }

    public static func == (left: KeyRestrictions, right: KeyRestrictions) -> Bool {
        left.ipFilter == right.ipFilter && left.quota == right.quota
    }
}

/// Finds out who asks. Accounts implements it.
public protocol Authenticator: Sendable {
    /// The principal of a bearer key.
    /// - Throws: `APIError` 401 for a bad key, 503 when the records cannot be read (never 401 for our own fault).
    func principal(bearer key: String) throws -> Principal
    /// The project that a path's first segment (`proj_…` or a slug) names; nil when there is none.
    func projectID(named segment: String) throws -> ID<Project>?
}
