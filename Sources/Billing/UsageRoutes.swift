import Foundation
import JSON
import OpenAI
import Postgres
import Server
import Tenancy

/// What a project has used (08 §5.3): `GET usage/summary`, `usage/daily`, `usage/requests` and `usage/requests/{request_id}`, as JSON or CSV.
/// A key that is pinned to an endpoint is shown that endpoint's usage alone.
public struct UsageRoutes: Sendable {
    private let database: TenantDatabase
    private let now: @Sendable () -> Int

    /// - Parameter now: unix seconds.
    public init(database: TenantDatabase, now: @escaping @Sendable () -> Int = { time(nil) }) {
        self.database = database
        self.now = now
    }

    public var all: [Route] {
        [
            Route(.get, "usage/summary", [.host, .project], .inference, meter: .none, summary),
            Route(.get, "usage/daily", [.host, .project], .inference, meter: .none, daily),
            Route(.get, "usage/requests", [.host, .project], .inference, meter: .none, requests),
            Route(.get, "usage/requests/:request_id", [.host, .project], .inference, meter: .none, request),
        ]
    }

    private static let paging = ["limit", "after", "before", "order", "format"]
    /// Lines of a file; JSON has less on a page.
    private static let mostLines = 10_000
    /// A year and a month of days.
    private static let usualDays = 400

    private func summary(_ request: Request, _ context: Context) throws -> Response {
        try request.query.allow(["period", "from", "to", "format"])
        let (principal, now, isCSV) = (try context.principal, now(), try request.wantsCSV())
        let kind = try UsageSummary.Kind(request.query)
        let summary = try database.withConnection(of: principal.projectID) { connection in
            let range = try kind.range(request.query, created: try connection.projectCreated(), now: now)
            let span = UsageSpan(range, now: now)
            let oldest = UsageRollups.oldestDay(today: UTCDay(second: now)).start
            if let single = span.oldestSingle, single < oldest {
                let name = range.start == single ? "from" : "to"
                throw APIError.invalid(name, "'\(name)' must be a whole day of UTC: times within days are known for 90 days.")
            }
            return UsageSummary(kind: kind, range: range, sums: try connection.usage(span, endpoint: principal.endpointPin))
        }
        return isCSV ? .csv(UsageSummary.table.csv([summary]), name: "usage-summary", hasMore: false) : .json(summary.json)
    }

    private func daily(_ request: Request, _ context: Context) throws -> Response {
        try request.query.allow(["from", "to", "group_by"] + Self.paging)
        let (principal, isCSV) = (try context.principal, try request.wantsCSV())
        let list = try ListQuery(request.query, usual: Self.usualDays, most: isCSV ? Self.mostLines : 1_000, isAscending: true)
        let range = try UsageRange.days(request.query, now: now())
        let group = try UsageGroup(request.query)
        let page = try database.withConnection(of: principal.projectID) {
            try $0.dailyUsage(range, by: group, endpoint: principal.endpointPin, list)
        }
        let table = UsageDay.table(group)
        if isCSV { return .csv(table.csv(page.data), name: "usage-daily", hasMore: page.hasMore) }
        return Response.list(page) { (id: $0.id(group), json: table.json($0)) }
    }

    private func requests(_ request: Request, _ context: Context) throws -> Response {
        try request.query.allow(UsageFilter.names + Self.paging)
        let (principal, isCSV) = (try context.principal, try request.wantsCSV())
        let list = try ListQuery(request.query, usual: isCSV ? 1_000 : 20, most: isCSV ? Self.mostLines : 100)
        let filter = try UsageFilter(request.query)
        let page = try Self.searching {
            try database.withConnection(of: principal.projectID) { try $0.usageRequests(filter, pin: principal.endpointPin, list) }
        }
        if isCSV { return .csv(UsageRequest.table.csv(page.data), name: "usage-requests", hasMore: page.hasMore) }
        return Response.list(page) { (id: $0.id, json: UsageRequest.table.json($0)) }
    }

    private func request(_ request: Request, _ context: Context) throws -> Response {
        try request.query.allow(["format"])
        let (principal, isCSV) = (try context.principal, try request.wantsCSV())
        guard let id = ID<HTTPRequest>(request.pathParameters["request_id"] ?? ""),
            let found = try database.withConnection(of: principal.projectID, { try $0.usageRequest(id, pin: principal.endpointPin) })
        else { throw APIError(.notFound, "The project has no usage of such a request; it is kept for 90 days.") }
        return isCSV
            ? .csv(UsageRequest.detail.csv([found]), name: "usage-request", hasMore: false) : .json(UsageRequest.detail.json(found))
    }

    /// A filter that hardly anything passes makes Postgres look at all requests of the time; it gives up after a while.
    private static func searching<Value>(_ body: () throws -> Value) throws -> Value {
        do {
            return try body()
        } catch let error as PostgresError where error.sqlState == "57014" {
            throw APIError.invalid("from", "There are too many requests to search. Name a shorter time by 'from' and 'to'.")
        }
    }
}

/// What `usage/summary` shows.
struct UsageSummary: Sendable {
    enum Kind: String, CaseIterable, Sendable {
        case current, previous, custom

        init(_ query: Query) throws {
            guard let kind = Kind(rawValue: query["period"] ?? "current") else {
                throw APIError.invalid("period", "'period' must be one of \(Self.allCases.map(\.rawValue).joined(separator: ", ")).")
            }
            self = kind
            guard kind != .custom else { return }
            for name in ["from", "to"] where query[name] != nil {
                throw APIError.invalid(name, "'\(name)' goes with 'period=custom' only.")
            }
        }

        func range(_ query: Query, created: Int, now: Int) throws -> UsageRange {
            switch self {
            case .current: UsagePeriod.block(created, now: now, back: 0)
            case .previous: UsagePeriod.block(created, now: now, back: 1)
            case .custom: try UsageRange.custom(query, now: now)
            }
        }
    }

    var kind: Kind
    var range: UsageRange
    var sums: UsageSums

    /// Nano-USD for nodes that were online; there are none before agents can join.
    var hourly: Int64 { 0 }

    static let table = UsageTable(object: "usage.summary", columns: period + members)

    private static let period: [UsageColumn<UsageSummary>] = [
        UsageColumn("period") { .text($0.kind.rawValue) },
        UsageColumn("period_start") { .integer($0.range.start) },
        UsageColumn("period_end") { .integer($0.range.end) },
    ]

    private static let members: [UsageColumn<UsageSummary>] = {
        let costs: [UsageColumn<UsageSummary>] = [
            UsageColumn("token_cost") { .dollars($0.sums.cost) },
            UsageColumn("hourly_cost") { .dollars($0.hourly) },
            UsageColumn("total_cost") { .dollars($0.sums.cost + $0.hourly) },
            UsageColumn("currency") { _ in .text("USD") },
            UsageColumn("cache_savings") { .dollars($0.sums.saved) },
        ]
        return UsageSums.counts { $0.sums } + costs + UsageSums.times { $0.sums }
    }()

    /// The period is an object here, and what the SLOs have left comes as a list.
    var json: [UInt8] {
        var json = JSONWriter(capacity: 1_024)
        json.raw(#"{"period":{"type":"#)
        json.string(kind.rawValue)
        json.raw(#","start":"#)
        json.integer(range.start)
        json.raw(#","end":"#)
        json.integer(range.end)
        json.raw(#"},"slo_budgets":[],"#)
        json.raw(Array(UsageTable(object: "usage.summary", columns: Self.members).json(self).dropFirst()))
        return json.bytes
    }
}
