import OpenAI

/// The methods that routes use; others are answered 405.
public enum Method: String, Sendable { case get = "GET", post = "POST", put = "PUT", patch = "PATCH", delete = "DELETE" }

/// Which URL families carry a route (01 §3).
public struct Families: OptionSet, Sendable {
    public let rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }
    /// `/v1/…`
    public static let host = Families(rawValue: 1)
    /// `/{project}/v1/…`
    public static let project = Families(rawValue: 2)
    /// `/{project}/{endpoint}/v1/…`
    public static let endpoint = Families(rawValue: 4)
    /// `/…` without version, such as `/healthz`
    public static let root = Families(rawValue: 8)
    public static let all: Families = [.host, .project, .endpoint]
}

/// Who may call a route.
public enum Access: Sendable, Equatable {
    /// Everybody, without a key.
    case open
    /// Every good key, whatever its scopes.
    case anyKey
    case scope(Scope)
    /// Keys of the scope inference or management: what both work with.
    case inferenceOrManagement

    public static let inference = Access.scope(.inference)
    public static let management = Access.scope(.management)
    public static let execution = Access.scope(.execution)

    /// Why a key with these scopes may not call; nil = it may.
    func refusal(of scopes: Set<Scope>) -> APIError? {
        switch self {
        case .open, .anyKey: nil
        case .scope(let scope):
            scopes.contains(scope) ? nil : APIError(.scopeInsufficient, "The API key lacks the scope '\(scope.rawValue)'.")
        case .inferenceOrManagement:
            scopes.isDisjoint(with: [.inference, .management])
                ? APIError(.scopeInsufficient, "The API key needs the scope 'inference' or 'management'.") : nil
        }
    }
}

public typealias Handler = @Sendable (Request, Context) throws -> Response

/// One line of the route table.
public struct Route: Sendable {
    public var method: Method
    /// Below `v1/` (or `/` in the root family): literals, `:name` for one segment, `*name` for all that are left.
    public var path: String
    public var families: Families
    public var access: Access
    public var meter: Meter
    /// The largest body in bytes.
    public var bodyLimit: Int
    /// Whether a POST, PUT or PATCH may come without a body, and then without a Content-Type.
    public var isBodyOptional: Bool
    /// Whether the handler reads the body itself, as it comes (`Context.body`), whatever its type.
    public var streamsBody: Bool
    public var handler: Handler

    public init(
        _ method: Method, _ path: String, _ families: Families, _ access: Access, meter: Meter, bodyLimit: Int = 1 << 20,
        isBodyOptional: Bool = false, streamsBody: Bool = false,
        _ handler: @escaping Handler
    ) {
        self.method = method
        self.path = path
        self.families = families
        self.access = access
        self.meter = meter
        self.bodyLimit = bodyLimit
        self.isBodyOptional = isBodyOptional
        self.streamsBody = streamsBody
        self.handler = handler
    }
}

extension Route {
    /// Whether it changes what is stored; inference does not.
    var isWrite: Bool {
        if case .usage = meter { return false }
        return method != .get
    }

    /// Method, path, families, access and meter, separated by tabs.
    public var line: String {
        let families: [(Families, String)] = [(.host, "host"), (.project, "project"), (.endpoint, "endpoint"), (.root, "root")]
        let access =
            switch access {
            case .open: "open"
            case .anyKey: "any key"
            case .scope(let scope): scope.rawValue
            case .inferenceOrManagement: "inference or management"
            }
        let meter =
            switch meter {
            case .none: "none"
            case .usage(let surface): "usage \(surface.rawValue)"
            }
        let carriers = families.filter { self.families.contains($0.0) }.map(\.1).joined(separator: ",")
        return [method.rawValue, path, carriers, access, meter].joined(separator: "\t")
    }
}

/// Where a path leads: the family with its project and endpoint, and the segments below.
public struct Location: Equatable, Sendable {
    public var family: Families
    /// The project segment, an id or a slug, in the project and endpoint families.
    public var project: String?
    /// The endpoint segment in the endpoint family.
    public var endpoint: String?
    public var segments: [String]

    /// Splits a path (without query, still percent-encoded). A trailing slash is ignored.
    public init(path: String) {
        var segments = path.utf8.split(separator: UInt8(ascii: "/")).map { PercentEncoding.decode(Substring($0)) }
        if segments.first == "v1" {
            family = .host
            segments.removeFirst()
        } else if segments.count > 1, segments[1] == "v1" {
            family = .project
            project = segments[0]
            segments.removeFirst(2)
        } else if segments.count > 2, segments[2] == "v1" {
            family = .endpoint
            project = segments[0]
            endpoint = segments[1]
            segments.removeFirst(3)
        } else {
            family = .root
        }
        self.segments = segments
    }
}

/// Finds the route of a request.
public struct Router: Sendable {
    public enum Match: Sendable {
        case route(Route, parameters: [String: String])
        case wrongMethod(allowed: [String])
        case none
    }

    private struct Entry: Sendable {
        var segments: [String]
        var route: Route
    }

    private let byFirstSegment: [String: [Entry]]

    public init(_ routes: [Route]) {
        let entries = routes.map { Entry(segments: $0.path.split(separator: "/").map(String.init), route: $0) }
        byFirstSegment = Dictionary(grouping: entries) { $0.segments.first ?? "" }
    }

    public func match(_ method: String, _ location: Location) -> Match {
        var allowed: [String] = []
        for entry in byFirstSegment[location.segments.first ?? ""] ?? [] where entry.route.families.contains(location.family) {
            guard let parameters = Self.parameters(entry.segments, location.segments) else { continue }
            if entry.route.method.rawValue == method { return .route(entry.route, parameters: parameters) }
            allowed.append(entry.route.method.rawValue)
        }
        return allowed.isEmpty ? .none : .wrongMethod(allowed: Array(Set(allowed)).sorted())
    }

    private static func parameters(_ pattern: [String], _ segments: [String]) -> [String: String]? {
        var parameters: [String: String] = [:]
        for (index, part) in pattern.enumerated() {
            guard index < segments.count else { return nil }
            switch part.first {
            case "*":
                parameters[String(part.dropFirst())] = segments[index...].joined(separator: "/")
                return parameters
            case ":": parameters[String(part.dropFirst())] = segments[index]
            default: if part != segments[index] { return nil }
            }
        }
        return pattern.count == segments.count ? parameters : nil
    }
}

/// Percent-decoding of path segments and query values (RFC 3986 §2.1).
package enum PercentEncoding {
    /// Text whose escapes are broken or give invalid UTF-8 is returned as it is: it will match nothing.
    package static func decode(_ text: some StringProtocol, plusIsSpace: Bool = false) -> String {
        guard text.utf8.contains(where: { $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: "+") }) else { return String(text) }
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "%"):
                guard rest.count >= 2, let high = hexadecimal(rest[rest.startIndex]), let low = hexadecimal(rest[rest.startIndex + 1])
                else {
                    return String(text)
                }
                bytes.append(high << 4 | low)
                rest = rest.dropFirst(2)
            case UInt8(ascii: "+") where plusIsSpace: bytes.append(UInt8(ascii: " "))
            default: bytes.append(byte)
            }
        }
        return String(validating: bytes, as: UTF8.self) ?? String(text)
    }

    private static func hexadecimal(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
