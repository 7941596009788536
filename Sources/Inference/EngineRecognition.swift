import JSON
import Mesh

/// Reads whose server it is, and what it says of its model, out of the answer to `GET /v1/models`; see `ModelFacts`. Pure.
extension ModelFacts {
    /// - Parameter model: the one that the endpoint serves.
    /// - Returns: nil for what is no list of models.
    package init?(modelsBody body: [UInt8], server: String?, model: String) {
        let report = try? JSONParser().parse(body) { ModelFacts(models: $0, server: server, model: model) }
        guard let report = report ?? nil else { return nil }
        self = report
    }

    private init?(models root: JSONElement, server: String?, model: String) {
        guard let list = root["data"], list.kind == .array else { return nil }
        self.init()
        let named = list.elements.first { $0["id"]?.string == model || $0["aliases"]?.elements.contains { $0.string == model } == true }
        guard let entry = named ?? list.elements.first(where: { _ in true }) else { return }
        self.init(of: entry, server: server)
    }
}
