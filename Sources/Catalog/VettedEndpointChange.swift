import Crypto
import HTTPClient
import OpenAI
import Server
import Tenancy

/// A change with everything that is asked of others before the transaction that writes it: names are looked up, and the key to seal with is
/// asked for, and perhaps made, on another connection.
public struct VettedEndpointChange: Sendable {
    let change: EndpointChange
    let sealing: Sealing
    /// nil where the change gives no key of an upstream.
    let sealer: ProjectSealer?
    let outbound: OutboundGuard

    /// - Throws: `APIError` 400 that names the URL that may not be called.
    public init(_ change: EndpointChange, of project: ID<Project>, sealing: Sealing, outbound: OutboundGuard) throws {
        try Self.vet(change.urls, outbound)
        self.change = change
        self.sealing = sealing
        self.outbound = outbound
        sealer = try change.upstreamKey.map { _ in try sealing.sealer(of: project.description) }
    }

    /// Asks the outbound guard about each URL, which looks hosts up.
    ///
    /// A host that nobody knows yet may come to be known; each connection is checked again.
    /// - Throws: `APIError` 400 that names the URL.
    private static func vet(_ urls: [String], _ outbound: OutboundGuard) throws {
        guard urls.count <= EndpointRules.mostURLs else {
            throw APIError.invalid("upstream.urls", "An upstream has at most \(EndpointRules.mostURLs) URLs.")
        }
        for (index, text) in urls.enumerated() {
            let param = urls.count == 1 ? "upstream.url" : "upstream.urls[\(index)]"
            guard text.utf8.count <= 2_048 else { throw APIError.invalid(param, "A URL has at most 2048 characters.") }
            guard !text.contains("?"), !text.contains("#") else {
                throw APIError.invalid(param, "The URL of an upstream has no query and no fragment.")
            }
            do throws(OutboundRefusal) {
                _ = try outbound.vet(try outbound.check(text), within: .seconds(2))
            } catch {
                if case .unreachable = error { continue }
                throw error.apiError(param: param)
            }
        }
    }
}
