import Foundation
import JSON
import OpenAI
import Server

/// What files may be (03 §3); `param` names the field that is not.
public enum FileRules {
    public static let largest = 524_288_000
    /// What stands around a file in a form.
    static let largestBody = largest + (1 << 20)
    public static let purposes = ["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
    static let lifetime = 3_600...2_592_000
    private static let plainType = "application/octet-stream"

    /// The last part of the name that a client gave.
    public static func filename(_ given: String) throws -> String {
        let name = given.split(omittingEmptySubsequences: false) { $0 == "/" || $0 == "\\" }.last.map(String.init) ?? ""
        let isPlain = name.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) }
        guard (1...255).contains(name.utf8.count), isPlain, name != ".", name != ".." else {
            throw APIError.invalid("file", "A file's name has 1 to 255 bytes and no control characters.")
        }
        return name
    }

    public static func relativePath(_ path: String) throws -> String {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        let isPlain = path.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) && $0 != "\\" }
        guard (1...1_024).contains(path.utf8.count), isPlain, parts.allSatisfy({ !["", ".", ".."].contains($0) }) else {
            throw APIError(
                .invalidPath,
                "'relative_path' has 1 to 1,024 bytes, its parts are separated by '/', none of them is empty, '.' or '..', and it has no backslash.",
                param: "relative_path")
        }
        return path
    }

    public static func purpose(_ name: String) throws -> String {
        guard purposes.contains(name) else {
            throw APIError.invalid("purpose", "'purpose' must be one of \(purposes.map { "'\($0)'" }.joined(separator: ", ")).")
        }
        return name
    }

    /// What the client said it is; what is no type of media is unknown.
    static func contentType(_ given: String?) -> String {
        guard let given, given.utf8.count <= 255, given.wholeMatch(of: /[A-Za-z0-9.+_-]+\/[A-Za-z0-9.+_-]+(;[ -~]*)?/) != nil else {
            return plainType
        }
        return given
    }

    /// - Parameters: the values of `expires_after[anchor]` and `expires_after[seconds]`.
    /// - Returns: seconds; nil = neither was given.
    public static func lifetime(anchor: String?, seconds: String?) throws -> Int? {
        if anchor == nil, seconds == nil { return nil }
        guard anchor == "created_at" else {
            throw APIError.invalid("expires_after[anchor]", "'expires_after[anchor]' must be 'created_at'.")
        }
        guard let seconds, let value = Int(seconds), lifetime.contains(value) else {
            throw APIError.invalid(
                "expires_after[seconds]",
                "'expires_after[seconds]' must be between \(lifetime.lowerBound) and \(lifetime.upperBound).")
        }
        return value
    }

    /// At most 16 pairs, names of 1 to 64 characters, values that are texts of at most 512 characters, numbers or booleans.
    /// - Returns: the JSON text as it came.
    static func attributes(_ json: [UInt8], _ parser: JSONParser) throws -> [UInt8] {
        func invalid(_ message: String) -> APIError { APIError.invalid("attributes", message) }
        do {
            try parser.parse(json) { root in
                guard root.kind == .object else { throw invalid("'attributes' must be a JSON object.") }
                guard root.count <= 16 else { throw invalid("'attributes' has at most 16 pairs.") }
                for pair in root.members {
                    guard (1...64).contains(pair.name.description.unicodeScalars.count) else {
                        throw invalid("A key in 'attributes' has 1 to 64 characters.")
                    }
                    switch pair.value.kind {
                    case .string: _ = try Fields.string(pair.value, "attributes", atMost: 512)
                    case .integer, .double, .bool: break
                    default: throw invalid("The values in 'attributes' must be strings, numbers or booleans.")
                    }
                }
            }
        } catch is JSONError {
            throw invalid("'attributes' is not valid JSON.")
        }
        return json
    }
}
