import Configuration
import Routing

extension Chooser {
    /// - Throws: `ConfigurationError` that names the key.
    init(_ file: RouterFile) throws {
        self.init()
        if let unknown = file.weights.keys.first(where: { name in !Signal.allCases.contains { $0.name == name } }) {
            throw ConfigurationError("weights.\(unknown): unknown signal")
        }
        do throws(Weights.Problem) {
            weights = try Weights(SignalValues { file.weights[$0.name] ?? Weights.standard.values[$0] })
        } catch {
            throw ConfigurationError("weights: at least one must be above 0")
        }
        guard
            let sampling = SamplingSettings(
                sharpness: file.sharpness ?? sampling.sharpness, epsilon: file.epsilon ?? sampling.epsilon)
        else { throw ConfigurationError("selection_sharpness: must be from 1 to 64") }
        self.sampling = sampling
    }

    /// As the router's file says it; as by default without one.
    init(_ configuration: Configuration) throws {
        let path = configuration.mesh.routerFile
        try self.init(path.isEmpty ? RouterFile() : RouterFile(path: path))
    }
}
