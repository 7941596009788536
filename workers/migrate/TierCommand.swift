import ArgumentParser
import Catalog

struct TierCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "tier", abstract: "Manages service tiers.", subcommands: [Set.self])

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Creates a tier, or changes what is given.", discussion: "A new tier needs --price-nano-per-mtok.")

        @Option(help: "The tier's name.") var slug: String
        @Option(help: "Nano-USD for 1,000,000 tokens.") var priceNanoPerMtok: Int64?
        @Option(help: "A number, or none.") var tokensPerMinute: CapArgument?
        @Option(help: "A number, or none.") var requestsPerMinute: CapArgument?
        @Option(help: "The least size of a burst.") var burstFloor: Int?
        @Option(help: "Seconds until the answer, or a stream's first byte.") var requestTimeoutS: Int?
        @Option(help: "Seconds a stream may be silent.") var idleStreamS: Int?
        @Option(help: "The most requests at a time.") var concurrent: Int?
        @Option(help: "Seconds a request may wait for a place.") var queueWaitS: Int?
        @Option(help: "Lines of a batch at a time; 0 = no Batch API.") var batchWidth: Int?
        @Option(help: "Higher goes first.") var priority: Int?
        @Option(help: "Nano-USD for a node of the tenant's in 730 hours.") var nodePriceNano: Int64?
        @Option(help: "The largest model in bytes, or none.") var maxModelBytes: CapArgument?
        @Option(help: "The most endpoints of the tier in a project.") var maxEndpoints: Int?
        @Option(help: "The most models of a project, or none.") var maxModels: CapArgument?
        @Option(help: "Tokens of a project in a month of UTC, or none.") var tokensPerMonth: CapArgument?
        @Option(help: "true or false: requests without a first byte may make room for others.") var preemptable: Bool?
        @Option(help: "Seconds that answers are kept at hand.") var hotRetentionS: Int?
        @Option(help: "Seconds that answers are kept.") var coldRetentionS: Int?

        func run() throws {
            var change = TierChange()
            change.priceNanoPerMtok = priceNanoPerMtok
            change.tokensPerMinute = tokensPerMinute?.cap
            change.requestsPerMinute = requestsPerMinute?.cap
            change.burstFloor = burstFloor
            change.requestTimeoutSeconds = requestTimeoutS
            change.idleStreamSeconds = idleStreamS
            change.concurrent = concurrent
            change.queueWaitSeconds = queueWaitS
            change.batchWidth = batchWidth
            change.priority = priority
            change.nodePriceNano = nodePriceNano
            change.maxModelBytes = maxModelBytes?.cap
            change.maxEndpoints = maxEndpoints
            change.maxModels = maxModels?.cap
            change.tokensPerMonth = tokensPerMonth?.cap
            change.isPreemptable = preemptable
            change.hotRetentionSeconds = hotRetentionS
            change.coldRetentionSeconds = coldRetentionS
            try withSettings { settings in
                let tier = try settings.system.withConnection { try $0.setTier(slug, to: change, by: .migrate) }
                Invalidation(settings).publish("tiers")
                print(tier)
            }
        }
    }
}

/// `none` or a number.
struct CapArgument: ExpressibleByArgument {
    var cap: TierChange.Cap

    init?(argument: String) {
        if argument == "none" {
            cap = .none
        } else if let value = Int(argument) {
            cap = .limit(value)
        } else {
            return nil
        }
    }
}
