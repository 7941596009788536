import Catalog
import JSON
import OpenAI
import Server

/// The endpoint that an inference request means, if it may be called (01 §3, 02 §1).
enum RequestedEndpoint {
    /// By the path in the endpoint family, else by the body's `model`.
    /// - Throws: 400 without a model, 404 when there is none, 403 for a pinned key, 503 when it is not active.
    static func find(
        _ root: JSONElement, _ request: Request, _ principal: Principal, in catalog: any CatalogSource
    ) throws -> EndpointRecord {
        guard let member = root["model"], !member.isNull else { throw APIError.missing("model") }
        let model = try Fields.string(member, "model")
        guard !model.isEmpty else { throw APIError.invalid("model", "'model' must not be empty.") }
        let catalog = try catalog.catalog(of: principal.projectID)
        let endpoint =
            if let slug = request.location.endpoint {
                try EndpointResolver.resolve(slug: slug, in: catalog)
            } else {
                try EndpointResolver.resolve(model: model, in: catalog)
            }
        try checkPin(of: principal, endpoint, param: request.location.endpoint == nil ? "model" : nil)
        guard endpoint.status == .active || endpoint.status == .degraded else {
            throw APIError(.endpointInactive, "The endpoint is not active.", retryAfter: 5)
        }
        return endpoint
    }

    /// - Parameter param: the member of the body that chose the endpoint; nil where the path did.
    static func checkPin(of principal: Principal, _ endpoint: EndpointRecord, param: String? = nil) throws {
        if let pin = principal.endpointPin, pin != endpoint.slug {
            throw APIError(.endpointMismatch, "The API key is pinned to another endpoint.", param: param)
        }
    }

    static func check(_ endpoint: EndpointRecord, serves mode: TaskMode) throws {
        guard endpoint.taskMode != mode else { return }
        let does =
            switch mode {
            case .generate: "does not generate text"
            case .embed: "does not make embeddings"
            case .score: "does not score"
            }
        throw APIError(.taskModeMismatch, "The endpoint \(does): its task mode is '\(endpoint.taskMode.rawValue)'.", param: "model")
    }
}
