import Foundation

/// A thing that clients name by a prefixed identifier, such as `key_…`.
public protocol Identified {
    /// The prefix with its separator, such as `key_`.
    static var idPrefix: String { get }
}

/// An identifier: the prefix of its kind and 24 characters of `[0-9a-z]`.
///
/// A text of another form is not an identifier; a route answers it with the resource's 404.
public struct ID<Kind: Identified>: Hashable, Sendable, CustomStringConvertible {
    public let description: String

    public init?(_ text: String) {
        guard text.hasPrefix(Kind.idPrefix) else { return nil }
        let rest = text.utf8.dropFirst(Kind.idPrefix.utf8.count)
        guard rest.count == 24, rest.allSatisfy(IDAlphabet.contains) else { return nil }
        description = text
    }

    /// A new identifier of 120 random bits.
    public static func random(using generator: inout some RandomNumberGenerator) -> ID {
        ID(unchecked: Kind.idPrefix + IDAlphabet.random(using: &generator))
    }

    /// A new identifier from the system's generator.
    public static func random() -> ID {
        var generator = SystemRandomNumberGenerator()
        return random(using: &generator)
    }

    private init(unchecked text: String) { description = text }
}

extension ID: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let id = ID(text) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not an identifier of \(Kind.idPrefix)")
        }
        self = id
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

/// The 32 symbols of new identifiers, and all that are accepted.
package enum IDAlphabet {
    static func contains(_ character: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(character) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(character)
    }
    private static let symbols = Array("0123456789abcdefghijkmnpqrstuvwx".utf8)

    /// 24 symbols of 5 random bits.
    package static func random(using generator: inout some RandomNumberGenerator) -> String {
        var high: UInt64 = generator.next()
        var low: UInt64 = generator.next()
        return String(unsafeUninitializedCapacity: 24) { buffer in
            for index in 0..<12 {
                buffer[index] = symbols[Int(high & 31)]
                buffer[index + 12] = symbols[Int(low & 31)]
                high >>= 5
                low >>= 5
            }
            return 24
        }
    }
}

/// The kinds of thing that have identifiers.
public enum Project: Identified { public static let idPrefix = "proj_" }
public enum Endpoint: Identified { public static let idPrefix = "ep_" }
public enum Model: Identified { public static let idPrefix = "mdl_" }
public enum APIKey: Identified { public static let idPrefix = "key_" }
public enum Agent: Identified { public static let idPrefix = "agt_" }
public enum AgentEvent: Identified { public static let idPrefix = "agev_" }
public enum JoinKey: Identified { public static let idPrefix = "jk_" }
public enum User: Identified { public static let idPrefix = "user_" }
public enum ChatCompletion: Identified { public static let idPrefix = "chatcmpl-" }
public enum TextCompletion: Identified { public static let idPrefix = "cmpl-" }
public enum ToolCall: Identified { public static let idPrefix = "call_" }
/// One HTTP request, as in `X-Request-ID`.
public enum HTTPRequest: Identified { public static let idPrefix = "req_" }
