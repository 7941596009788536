import Catalog
import OpenAI
import Testing

private func endpoint(
    _ slug: String, model: String = "m", created: Int = 1, status: EndpointRecord.Status = .active, aliases: [String] = []
) -> EndpointRecord {
    let tier = ServiceTier(
        slug: "t", priceNanoPerMtok: 1, tokensPerMinute: nil, requestsPerMinute: nil, burstFloor: 1, requestTimeout: .seconds(60),
        idleStreamTimeout: .seconds(30), concurrent: 10, queueWait: .seconds(1), priority: 0)
    return EndpointRecord(
        id: .random(), projectID: .random(), slug: slug, status: status, generation: 1, taskMode: .generate, tier: tier,
        modelID: .random(), modelName: model, modelVersion: "1", contextLength: nil, upstream: UpstreamSettings(urls: ["https://a"]),
        limits: EndpointLimits(), defaults: EndpointDefaults(), createdAt: created, aliases: aliases)
}

@Suite struct EndpointResolverTests {
    private func slug(of model: String, _ endpoints: [EndpointRecord]) throws -> String {
        try EndpointResolver.resolve(model: model, in: ProjectCatalog(endpoints: endpoints)).slug
    }

    @Test func aSlugGoesBeforeAModelAndAModelBeforeAnAlias() throws {
        let all = [endpoint("alias", aliases: ["x"]), endpoint("model", model: "x"), endpoint("x")]
        #expect(try slug(of: "x", all) == "x")
        #expect(try slug(of: "x", Array(all.dropLast())) == "model")
        #expect(try slug(of: "x", [all[0]]) == "alias")
        #expect(try slug(of: all[1].modelID.description, all) == "model")
    }

    @Test func ofSeveralTheOldestActiveOneWins() throws {
        let young = endpoint("young", created: 3)
        let old = endpoint("old", created: 2)
        let oldest = endpoint("oldest", created: 1, status: .inactive)
        #expect(try slug(of: "m", [young, old, oldest]) == "old")
        #expect(try slug(of: "m", [young, endpoint("degraded", created: 1, status: .degraded)]) == "degraded")
        // An inactive one is found where no other is, so that its state can be told.
        #expect(try slug(of: "m", [oldest, endpoint("b", created: 2, status: .failed)]) == "oldest")
    }

    @Test func whatIsBeingDeletedIsNotFound() {
        let catalog = ProjectCatalog(endpoints: [endpoint("a", status: .deleting, aliases: ["b"])])
        for model in ["a", "m", "b", "", "A"] {
            #expect(throws: CatalogError.modelNotFound(model)) { try EndpointResolver.resolve(model: model, in: catalog) }
        }
        #expect(throws: CatalogError.endpointNotFound) { try EndpointResolver.resolve(slug: "a", in: catalog) }
    }

    @Test func thePathNamesOnlySlugs() throws {
        let catalog = ProjectCatalog(endpoints: [endpoint("a", model: "m", status: .inactive, aliases: ["b"])])
        #expect(try EndpointResolver.resolve(slug: "a", in: catalog).slug == "a")
        for name in ["m", "b"] {
            #expect(throws: CatalogError.endpointNotFound) { try EndpointResolver.resolve(slug: name, in: catalog) }
        }
    }

    @Test func aNameInAMessageIsCut() {
        let error = CatalogError.modelNotFound(String(repeating: "x", count: 10_000)).apiError
        #expect(error.code == .modelNotFound && error.param == "model" && error.message.count < 300)
    }
}

@Suite struct EffectiveLimitsTests {
    private static func tier(requests: Int?, tokens: Int?) -> ServiceTier {
        ServiceTier(
            slug: "t", priceNanoPerMtok: 1, tokensPerMinute: tokens, requestsPerMinute: requests, burstFloor: 1,
            requestTimeout: .seconds(60),
            idleStreamTimeout: .seconds(30), concurrent: 10, queueWait: .seconds(1), priority: 0)
    }

    @Test func anEndpointOnlyLowersItsTier() {
        var own = EndpointLimits()
        own.requestsPerMinute = 50
        own.tokensPerMinute = 5_000
        own.maxConcurrent = 50
        own.requestTimeoutSeconds = 600
        own.maxTokens = 7
        own.maxPromptTokens = 8
        let limits = EffectiveLimits(tier: Self.tier(requests: 100, tokens: 1_000), endpoint: own)
        #expect(limits.requestsPerMinute == 50 && limits.tokensPerMinute == 1_000 && limits.concurrent == 10)
        #expect(limits.requestTimeout == .seconds(60) && limits.maxTokens == 7 && limits.maxPromptTokens == 8)
        own.maxConcurrent = 3
        own.requestTimeoutSeconds = 5
        let lower = EffectiveLimits(tier: Self.tier(requests: 100, tokens: 1_000), endpoint: own)
        #expect(lower.concurrent == 3 && lower.requestTimeout == .seconds(5))
    }

    @Test func unlimitedOnBothSidesIsUnlimited() {
        let none = EffectiveLimits(tier: Self.tier(requests: nil, tokens: nil), endpoint: EndpointLimits())
        #expect(none.requestsPerMinute == nil && none.tokensPerMinute == nil && none.maxTokens == nil)
        var own = EndpointLimits()
        own.requestsPerMinute = 5
        #expect(EffectiveLimits(tier: Self.tier(requests: nil, tokens: nil), endpoint: own).requestsPerMinute == 5)
        #expect(EffectiveLimits(tier: Self.tier(requests: 9, tokens: nil), endpoint: EndpointLimits()).requestsPerMinute == 9)
    }
}
