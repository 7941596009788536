import OpenAI

/// Which endpoint a request means (01 §3).
public enum EndpointResolver {
    /// The flat form: by the body's `model`, which is an endpoint's slug, else a model's id or name, else an alias. Of several the oldest active
    /// one wins; one that is not active is found only where no other is, so that its state can be told.
    public static func resolve(model: String, in catalog: ProjectCatalog) throws -> EndpointRecord {
        let endpoints = catalog.endpoints.filter { $0.status != .deleting }
        let found =
            endpoints.first { $0.slug == model }
            ?? oldestActive(endpoints.filter { $0.modelID.description == model || $0.modelName == model })
            ?? oldestActive(endpoints.filter { $0.aliases.contains(model) })
        guard let found else { throw CatalogError.modelNotFound(model) }
        return found
    }

    /// The endpoint family: by the path.
    public static func resolve(slug: String, in catalog: ProjectCatalog) throws -> EndpointRecord {
        guard let found = catalog.endpoints.first(where: { $0.slug == slug && $0.status != .deleting }) else {
            throw CatalogError.endpointNotFound
        }
        return found
    }

    /// A degraded endpoint still serves, so it counts as active. Of those made in the same second the catalog's order decides, which is finer.
    private static func oldestActive(_ endpoints: [EndpointRecord]) -> EndpointRecord? {
        let active = endpoints.filter { $0.status == .active || $0.status == .degraded }
        return active.min { $0.createdAt < $1.createdAt } ?? endpoints.min { $0.createdAt < $1.createdAt }
    }
}

public enum CatalogError: APIErrorConvertible, Equatable {
    case modelNotFound(String)
    case endpointNotFound
    case recordsUnavailable

    public var apiError: APIError {
        switch self {
        case .modelNotFound(let name):
            APIError(.modelNotFound, "The model '\(name.prefix(128))' does not exist or you do not have access to it.", param: "model")
        case .endpointNotFound: APIError(.endpointNotFound, "The endpoint does not exist.")
        case .recordsUnavailable: .unavailable()
        }
    }
}
