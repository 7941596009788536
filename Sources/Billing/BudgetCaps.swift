import OpenAI

/// What a project wants to spend in a period (08 §8): a row of `budgets`.
public enum Budget: Identified { public static let idPrefix = "bud_" }

/// Whose credit a request takes, and for what.
public struct CreditPayer: Sendable, Equatable {
    public var project: ID<Project>
    public var endpoint: ID<Endpoint>?
    public var key: ID<APIKey>?
    /// As in `Principal`: rises with each change of the project's budgets, and is 0 where there never was one.
    public var budgetGeneration: Int

    public init(project: ID<Project>, endpoint: ID<Endpoint>? = nil, key: ID<APIKey>? = nil, budgetGeneration: Int = 0) {
        self.project = project
        self.endpoint = endpoint
        self.key = key
        self.budgetGeneration = budgetGeneration
    }
}

/// The hard cap that leaves a project less than its balance does.
public struct BudgetLimit: Sendable, Equatable {
    public var budget: ID<Budget>
    /// When its period ends, in unix seconds.
    public var endsAt: Int

    public init(budget: ID<Budget>, endsAt: Int) {
        self.budget = budget
        self.endsAt = endsAt
    }
}

/// The hard caps of a project that have a scope, as of one generation of its budgets. Requests under one of them hold in the ledger alone, where
/// their endpoint and key are seen; those without scope are kept by leases, too.
public struct ScopedCaps: Sendable, Equatable {
    public struct Scope: Sendable, Equatable {
        /// Empty = all.
        public var endpoints: Set<String>
        public var keys: Set<String>

        public init(endpoints: Set<String>, keys: Set<String>) {
            self.endpoints = endpoints
            self.keys = keys
        }
    }

    public var generation: Int
    public var scopes: [Scope]

    public init(generation: Int, scopes: [Scope]) {
        self.generation = generation
        self.scopes = scopes
    }

    func cover(_ payer: CreditPayer) -> Bool {
        scopes.contains { scope in
            (scope.endpoints.isEmpty || payer.endpoint.map { scope.endpoints.contains($0.description) } ?? false)
                && (scope.keys.isEmpty || payer.key.map { scope.keys.contains($0.description) } ?? false)
        }
    }
}

/// A request that was not begun because nobody pays for the least of it: 402.
public struct CreditRefusal: APIErrorConvertible, Equatable {
    /// nil = the balance is too small.
    public var limit: BudgetLimit?
    /// Seconds until the budget's period ends.
    private var retryAfter: Int

    /// - Parameter now: unix seconds.
    init(_ limit: BudgetLimit?, now: Int) {
        self.limit = limit
        retryAfter = limit.map { max(1, $0.endsAt - now) } ?? 0
    }

    public var apiError: APIError {
        guard let limit else {
            return APIError(
                .insufficientCredits, "The project's credits do not pay for this request. Add credits to go on.", param: "credits")
        }
        var error = APIError(
            .budgetExceeded, "The budget '\(limit.budget)' leaves no room for this request until its period ends. Raise its cap to go on.",
            param: "budget")
        error.details = [("budget_id", .string(limit.budget.description)), ("retry_after", .integer(retryAfter))]
        return error
    }
}
