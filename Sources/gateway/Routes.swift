import Accounts
import Agents
import Billing
import Catalog
import HTTPClient
import Inference
import Jobs
import Notifications
import Server
import Storage
import Tenancy

/// The one place that lists all routes.
struct Routes {
    let catalog: PostgresCatalog
    let limiter: RateLimiter
    let committer: Committer
    let credit: Credit
    let upstreams: UpstreamPool
    let database: SystemDatabase
    let tenants: TenantDatabase
    let invalidations: Invalidations
    let outbound: OutboundGuard
    let cacheSalts: CacheSalts
    let promptNames: PromptNames
    let endpoints: EndpointRoutes
    let webhooks: WebhookRoutes
    let budgetWebhooks: WebhooksOfBudgets
    /// nil = no agent can enrol: `mesh.secret_key` is not set.
    let enrolment: EnrolmentRoutes?
    let objects: Objects
    /// nil = callbacks of card payments are not taken.
    let stripe: StripeProvider?

    var all: [Route] {
        let database = database
        let committer = committer
        let upstreams = upstreams
        let postgres = HealthRoutes.Check("postgres") {
            committer.isAccepting && (try? database.withConnection { try $0.query("SELECT 1") }) != nil
        }
        let acceptance = Acceptance(
            catalog: catalog, limiter: limiter, monthly: MonthlyTokens(database: tenants), committer: committer, credit: credit
        ) { upstreams.upstream(of: $0) }
        let chats = ChatRoutes(
            acceptance, images: GuardedHTTPClient(outbound), cacheSalts: cacheSalts, promptNames: promptNames)
        return HealthRoutes(checks: [postgres]).all
            + KeyRoutes(database: tenants, invalidations: invalidations).all
            + AuditRoutes(database: tenants).all
            + JoinKeyRoutes(database: tenants).all
            + ProjectSettingsRoutes(database: tenants).all
            + AgentRoutes(database: tenants).all
            + (enrolment?.all ?? [])
            + endpoints.all
            + webhooks.all
            + ErrorRoutes.all
            + TierRoutes(database: database).all
            + ProviderCallbackRoutes(topUps: TopUps(database: database), stripe: stripe).all
            + ModelRoutes(catalog: catalog).all
            + CORSRoutes(database: tenants, invalidations: invalidations).all
            + chats.all
            + ExplainRoutes(chats, database: tenants).all
            + CompletionRoutes(acceptance, cacheSalts: cacheSalts, promptNames: promptNames).all
            + EmbeddingRoutes(acceptance).all
            + ScoreRoutes(acceptance).all
            + FileRoutes(objects: objects).all
            + StorageRoutes(database: tenants).all
            + BillingRoutes(database: tenants).all
            + UsageRoutes(database: tenants).all
            + BudgetRoutes(database: tenants, invalidations: invalidations, outbound: outbound, webhooks: budgetWebhooks).all
    }
}
