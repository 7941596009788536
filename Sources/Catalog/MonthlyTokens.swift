import Foundation
import Logging
import OpenAI
import Postgres
import Server
import Tenancy

/// What a project has used of a tier that ends with a number of tokens a month (04 §6). Only such tiers are counted.
///
/// Usage rows are the count, read at most once a second for a project: what runs meanwhile may go beyond the limit by what a second brings.
public final class MonthlyTokens: Sendable {
    private struct Holder: Hashable {
        let project: ID<Project>
        let tier: String
    }

    private struct Count {
        var tokens: Int
        var secondsLeft: Int
    }

    private let counts: FreshCache<Holder, Count>

    public init(database: TenantDatabase, capacity: Int = 10_000) {
        counts = FreshCache(capacity: capacity) { holder in
            try database.withConnection(of: holder.project) { connection in
                let row = try connection.query(
                    """
                    SELECT COALESCE(sum(input_tokens + output_tokens), 0)::bigint AS tokens,
                        ceil(extract(epoch FROM date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month' - now() AT TIME ZONE 'UTC'))::bigint
                            AS seconds
                    FROM usage_events
                    WHERE project_id = \(connection.project) AND tier = \(holder.tier)
                        AND created_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
                    """)[0]
                return Count(tokens: try row.get("tokens"), secondsLeft: try row.get("seconds"))
            }
        }
    }

    /// - Throws: 429 `quota_exceeded` when nothing is left, 503 when that cannot be read.
    public func check(_ endpoint: EndpointRecord) throws {
        guard let most = endpoint.tier.tokensPerMonth else { return }
        let tier = endpoint.tier.slug
        guard let count = try counts.value(for: Holder(project: endpoint.projectID, tier: tier)), count.tokens >= most else { return }
        throw APIError(
            .quotaExceeded, "The project has used its \(most) tokens of this month (UTC) on the tier '\(tier)'. Another tier goes on.",
            param: "tokens_per_month", retryAfter: min(3_600, max(1, count.secondsLeft)), strategy: .quota)
    }
}
