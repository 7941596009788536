import Foundation
import Yams

/// `router.yaml`: how the router chooses, where that is not as by default (05 §3-4).
///
///     weights: {prefix_match: 0.3, latency_ewma: 0.2}
///     selection_sharpness: 16
///     epsilon: 0.05
public struct RouterFile: Sendable, Equatable {
    /// By name of the signal; those that are not named keep theirs.
    public var weights: [String: Double] = [:]
    /// 1...64; nil = the default.
    public var sharpness: Int?
    /// 0...0.5; nil = the default.
    public var epsilon: Double?

    public init() {}

    /// - Throws: `ConfigurationError` that names the key.
    public init(path: String) throws {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw ConfigurationError("router.file: cannot read \(path)")
        }
        try self.init(yaml: text)
    }

    /// - Throws: `ConfigurationError` that names the key.
    public init(yaml text: String) throws {
        let root: Any?
        do { root = try Yams.load(yaml: text) } catch { throw ConfigurationError("router.file: no YAML: \(error)") }
        guard let root else { return }
        guard let members = root as? [String: Any] else { throw ConfigurationError("router.file: must be a mapping") }
        for (name, value) in members {
            switch name {
            case "weights":
                guard let given = value as? [String: Any] else { throw ConfigurationError("weights: must be a mapping") }
                for (signal, weight) in given {
                    guard let weight = Self.number(weight), 0...1_000 ~= weight else {
                        throw ConfigurationError("weights.\(signal): must be a number from 0 to 1000")
                    }
                    weights[signal] = weight
                }
            case "selection_sharpness":
                guard let given = value as? Int, 1...64 ~= given else {
                    throw ConfigurationError("selection_sharpness: must be a whole number from 1 to 64")
                }
                sharpness = given
            case "epsilon":
                guard let given = Self.number(value), 0...0.5 ~= given else {
                    throw ConfigurationError("epsilon: must be a number from 0 to 0.5")
                }
                epsilon = given
            default: throw ConfigurationError("\(name): unknown in the router's file")
            }
        }
    }

    private static func number(_ value: Any) -> Double? { value as? Double ?? (value as? Int).map(Double.init) }
}
