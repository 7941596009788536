import Catalog
import Server

extension LimitRequest {
    /// What a call of the endpoint by this key takes of the limits.
    init(of endpoint: EndpointRecord, _ principal: Principal, requestID: String, tokenEstimate: Int) {
        let limits = endpoint.effectiveLimits
        self.init(
            requestID: requestID, endpointID: endpoint.id, keyID: principal.keyID, requestsPerMinute: limits.requestsPerMinute,
            tokensPerMinute: limits.tokensPerMinute, burstFloor: endpoint.tier.burstFloor, concurrent: limits.concurrent,
            tokenEstimate: tokenEstimate, quota: principal.restrictions?.quota)
    }
}

extension Limiter {
    /// - Throws: 429, with the headers that say which limit it was.
    func place(_ limits: LimitRequest) throws -> LimitReadings {
        switch admit(limits) {
        case .admitted(let readings): return readings
        case .refused(var error, let readings):
            error.headers += InferenceHeaders.limits(readings)
            throw error
        }
    }
}
