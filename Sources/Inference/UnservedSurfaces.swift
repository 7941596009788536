import Catalog
import OpenAI
import Server

/// Surfaces of the task modes that nothing serves yet. Who calls one on an endpoint of another mode hears that, as they will later (02 §1); on an
/// endpoint of its mode the surface is not found.
public struct UnservedSurfaces: Sendable {
    private let catalog: any CatalogSource

    public init(catalog: any CatalogSource) { self.catalog = catalog }

    public var all: [Route] { [surface("rerank", .score), surface("score", .score)] }

    private func surface(_ path: String, _ mode: TaskMode) -> Route {
        Route(.post, path, .all, .inference, meter: .none, bodyLimit: 20 << 20) { request, context in
            let endpoint = try RequestDocument.read(request.body, context.services.parser) {
                try RequestedEndpoint.find($0, request, context.principal, in: catalog)
            }
            context.log.endpointSlug = endpoint.slug
            try RequestedEndpoint.check(endpoint, serves: mode)
            throw APIError(.notFound, "'\(path)' is not served yet.")
        }
    }
}
