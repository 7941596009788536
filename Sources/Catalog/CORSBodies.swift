import JSON
import OpenAI
import Server

/// Reads a policy out of a request's body. Each bad member is a 400 that names it; a misspelt one would silently open or close something, so
/// unknown members are refused.
extension CORSPolicy {
    /// - Parameter path: where the object stands in the body, such as `cors`; empty = it is the body.
    public init(_ element: JSONElement, at path: String = "") throws {
        let prefix = path.isEmpty ? "" : path + "."
        try Fields.object(element, path.isEmpty ? "cors" : path)
        try Fields.refuseMembers(of: element, prefix, except: Self.members)
        /// The first name goes before its alias, and null is the same as absent.
        func member(_ name: StaticString, _ alias: StaticString) -> (name: String, value: JSONElement)? {
            for name in [name, alias] {
                if let value = element[name], !value.isNull { return (prefix + "\(name)", value) }
            }
            return nil
        }
        let standard = Self.standard
        allowOrigins =
            try member("allow_origins", "allowed_origins").map { try Self.list($1, $0, atMost: Self.mostOrigins, Self.origin) }
            ?? standard.allowOrigins
        allowMethods =
            try member("allow_methods", "allowed_methods").map { try Self.list($1, $0, atMost: Self.methods.count, Self.method) }
            ?? standard.allowMethods
        let headers = member("allow_headers", "allowed_headers")
        allowHeaders = try headers.map { try Self.list($1, $0, atMost: Self.mostHeaders, Self.header) } ?? standard.allowHeaders
        maxAge =
            try member("max_age", "max_age_seconds").map { try Fields.integer($1, $0, in: 0...Self.longestAge) } ?? standard.maxAge
        // Decided below, by the origins.
        allowCredentials = false
        guard !allowMethods.isEmpty else { throw APIError.invalid(prefix + "allow_methods", "A policy allows at least one method.") }
        let credentials = try member("allow_credentials", "allow_credentials").map { try Fields.bool($1, $0) }
        allowCredentials = credentials ?? !allowsAnyOrigin
        if allowCredentials && allowsAnyOrigin {
            throw APIError(
                .invalidCORSPolicy, "Credentials cannot be allowed to every origin: name the origins, or set 'allow_credentials' to false.",
                param: prefix + "allow_credentials")
        }
        if allowCredentials && allowsAnyHeader {
            throw APIError(
                .invalidCORSPolicy,
                "'*' does not cover headers of requests with credentials: name the headers, or set 'allow_credentials' to false.",
                param: headers?.name)
        }
    }

    private static let members: Set<String> = [
        "allow_origins", "allowed_origins", "allow_methods", "allowed_methods", "allow_headers", "allowed_headers", "max_age",
        "max_age_seconds", "allow_credentials",
    ]

    /// The elements as `read` understands them, each kept once.
    private static func list(
        _ element: JSONElement, _ name: String, atMost limit: Int, _ read: (String, String) throws -> String
    ) throws -> [String] {
        try Fields.array(element, name)
        var list: [String] = []
        for (index, item) in element.elements.enumerated() {
            guard index < limit else { throw APIError.invalid(name, "'\(name)' has at most \(limit) entries.") }
            let value = try read(Fields.string(item, "\(name)[\(index)]", atMost: 512), "\(name)[\(index)]")
            if !list.contains(value) { list.append(value) }
        }
        return list
    }

    private static func method(_ text: String, _ name: String) throws -> String {
        guard methods.contains(text) else {
            throw APIError.invalid(name, "'\(name)' must be one of \(methods.joined(separator: ", ")).")
        }
        return text
    }

    private static func header(_ text: String, _ name: String) throws -> String {
        guard (1...128).contains(text.utf8.count), text.utf8.allSatisfy(isTokenByte) else {
            throw APIError.invalid(name, "'\(name)' must be the name of a header, or '*'.")
        }
        return text
    }

    /// RFC 9110 §5.6.2.
    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }

    private static func origin(_ text: String, _ name: String) throws -> String {
        if text == "*" { return text }
        guard text != "null" else {
            throw APIError(
                .invalidCORSPolicy, "The origin 'null' stands for every sandboxed page and local file, so it cannot be allowed.",
                param: name)
        }
        guard let pattern = OriginPattern(text) else {
            throw APIError.invalid(
                name,
                "'\(name)' must be '*', 'scheme://host' with a port where one is needed and nothing after it, or 'https://*.example.com'. "
                    + "International names are written in ASCII (xn--).")
        }
        return pattern.text
    }
}
