import Catalog
import Mesh
import OpenAI

/// The agents of the mesh, for one endpoint without an upstream of its own (05 §12).
public final class MeshUpstream: Upstream {
    let endpoint: EndpointRecord
    let links: MeshLinks

    public init(_ endpoint: EndpointRecord, links: MeshLinks) {
        self.endpoint = endpoint
        self.links = links
    }

    public func send(_ request: UpstreamRequest) -> any UpstreamCall { MeshCall(request, of: self) }

    /// By which the router is chosen.
    var pool: String { endpoint.tier.slug + "|" + endpoint.upstreamModel }

    /// What the router is asked.
    func route(_ request: UpstreamRequest) -> RouteRequest {
        let asked = request.routing ?? RoutedRequest()
        let dispatch = Dispatch(
            work: .inference(
                Self.task(of: request.path), model: .init(id: endpoint.upstreamModel, version: Self.version), body: request.body),
            deadline: max(0, (request.deadline - .now).microseconds / 1_000), priority: endpoint.tier.priority, credit: 0,
            cacheSalt: asked.cacheSalt,
            prefix: asked.prefix?.hashes ?? [], project: endpoint.projectID.description, trace: request.requestID)
        return RouteRequest(
            dispatch, isStream: request.isStream, tier: endpoint.tier.slug, queueWait: max(0, request.queueWait.microseconds / 1_000),
            promptTokens: asked.promptTokens, answerTokens: asked.answerTokens, contextNeed: asked.contextNeed, profile: asked.profile,
            regions: endpoint.placement.regions(pinnedTo: asked.region),
            agents: endpoint.placement.agents.isEmpty ? nil : endpoint.placement.agents,
            allowsSharedFallback: endpoint.placement.allowsSharedFallback, features: asked.features,
            timeToFirstToken: asked.timeToFirstToken, timePerToken: asked.timePerToken)
    }

    /// Agents name what their engine has, of which nobody knows a version.
    private static let version = "latest"

    private static func task(of path: String) -> Dispatch.Task {
        switch path {
        case "embeddings": .embed
        case "completions": .completion
        case "rerank": .rerank
        case "score": .score
        default: .chat
        }
    }
}

/// Where a deployment has no mesh.
final class NoMesh: Upstream {
    func send(_ request: UpstreamRequest) -> any UpstreamCall {
        FailedCall(APIError(.noWorkerAvailable, "No worker is available: this deployment takes no agents.", retryAfter: 30))
    }
}
