import JSON
import Mesh
import OpenAI
import Server
import ZeroMQ

/// Reads the bodies of `POST enroll` and `enroll/refresh` (05 §11). Members that are not known are let pass: an agent may be newer than its router.
package enum EnrolmentBodies {
    /// The protocol of the mesh that is spoken here.
    private static let protocolVersion = 1

    package static func joinKey(_ root: JSONElement) throws -> JoinKeyText {
        let text = try Fields.string(required(root, "join_key"), "join_key", atMost: 512)
        // It may carry the router's address: `xjk_…@https://host`.
        guard let key = JoinKeyText(String(text.prefix { $0 != "@" })) else { throw AgentError.invalidJoinKey }
        return key
    }

    package static func new(_ root: JSONElement) throws -> NewAgent {
        let version = try Fields.integer(required(root, "protocol"), "protocol", in: 1...1_000_000)
        guard version == protocolVersion else {
            throw APIError.invalid("protocol", "The router speaks version \(protocolVersion) of the mesh's protocol.")
        }
        let role = try Fields.choice(required(root, "role"), "role", of: AgentRole.allCases.map(\.rawValue))
        let name = try Fields.string(required(root, "name"), "name", atMost: 48)
        guard name.wholeMatch(of: /[a-z0-9][a-z0-9-]{0,47}/) != nil else {
            throw APIError.invalid("name", "A name has 1 to 48 of a-z, 0-9 and -, and does not start with -.")
        }
        let curve = try Fields.string(required(root, "curve_public_key"), "curve_public_key", atMost: 40)
        guard (try? CurvePublicKey(curve)) != nil else {
            throw APIError.invalid("curve_public_key", "'curve_public_key' is a CURVE key as 40 characters of Z85.")
        }
        let signing = try Fields.string(required(root, "signing_public_key"), "signing_public_key", atMost: 64)
        guard let signingKey = bytes(hex: signing), signingKey.count == 32 else {
            throw APIError.invalid("signing_public_key", "'signing_public_key' is an Ed25519 key as 64 hexadecimal digits.")
        }
        let platform = try value(root["platform"]).map(platform)
        let devices = try value(root["accelerators"]).map(accelerators)
        return NewAgent(
            role: AgentRole(rawValue: role) ?? .inference, name: name,
            hostname: try value(root["hostname"]).map { try printable($0, "hostname", atMost: 255) },
            version: try printable(required(root, "agent_version"), "agent_version", atMost: 64), curvePublicKey: curve,
            signingPublicKey: signingKey, platform: platform, accelerators: devices ?? [],
            maxConcurrent: try value(root["max_concurrent_requests"]).map {
                try Fields.integer($0, "max_concurrent_requests", in: NewJoinKey.concurrency)
            } ?? 0)
    }

    /// When it was signed, in seconds since 1970, and the signature.
    package static func refresh(_ root: JSONElement) throws -> (time: Int, signature: [UInt8]) {
        let time = try Fields.integer(required(root, "ts"), "ts", in: 0...(1 << 40))
        let text = try Fields.string(required(root, "sig"), "sig", atMost: 128)
        guard let signature = bytes(hex: text), signature.count == 64 else {
            throw APIError.invalid("sig", "'sig' is an Ed25519 signature as 128 hexadecimal digits.")
        }
        return (time, signature)
    }

    private static func platform(_ element: JSONElement) throws -> NewAgent.Platform {
        try Fields.object(element, "platform")
        return NewAgent.Platform(
            os: try value(element["os"]).map { try printable($0, "platform.os", atMost: 64) },
            architecture: try value(element["arch"]).map { try printable($0, "platform.arch", atMost: 64) })
    }

    private static func accelerators(_ element: JSONElement) throws -> [Accelerator] {
        try Fields.array(element, "accelerators")
        let devices = Array(element.elements)
        guard devices.count <= Accelerator.most else {
            throw APIError.invalid("accelerators", "An agent has at most \(Accelerator.most) accelerators.")
        }
        return try devices.enumerated().map { place, device in
            let name = "accelerators[\(place)]"
            try Fields.object(device, name)
            return Accelerator(
                kind: try printable(required(device, "kind", in: name), "\(name).kind", atMost: 64),
                name: try printable(required(device, "name", in: name), "\(name).name", atMost: 128),
                memoryBytes: try Fields.integer(required(device, "memory_bytes", in: name), "\(name).memory_bytes", in: 0...(1 << 50)),
                index: try Fields.integer(required(device, "index", in: name), "\(name).index", in: 0...1_023),
                driver: try value(device["driver"]).map { try printable($0, "\(name).driver", atMost: 64) })
        }
    }

    /// null is the same as absent (01 §6).
    private static func value(_ element: JSONElement?) -> JSONElement? { element.flatMap { $0.isNull ? nil : $0 } }

    private static func required(_ object: JSONElement, _ name: StaticString, in parent: String? = nil) throws -> JSONElement {
        guard let element = value(object[name]) else {
            let path = parent.map { "\($0).\(name)" } ?? "\(name)"
            throw APIError(.missingRequiredParameter, "'\(path)' is missing.", param: path)
        }
        return element
    }

    private static func printable(_ element: JSONElement, _ name: String, atMost limit: Int) throws -> String {
        let text = try Fields.string(element, name, atMost: limit)
        guard !text.isEmpty, text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F }) else {
            throw APIError.invalid(name, "'\(name)' has 1 to \(limit) characters and no control characters.")
        }
        return text
    }

    private static func bytes(hex text: String) -> [UInt8]? {
        let digits = text.utf8.map { byte -> UInt8? in
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
            default: nil
            }
        }
        guard digits.count % 2 == 0, !digits.contains(nil) else { return nil }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0]! << 4 | digits[$0 + 1]! }
    }
}
