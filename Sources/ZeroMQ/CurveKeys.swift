import CZeroMQ

/// A public key of CurveZMQ (https://rfc.zeromq.org/spec/26/), as 40 characters of Z85 (https://rfc.zeromq.org/spec/32/).
public struct CurvePublicKey: Hashable, Sendable, CustomStringConvertible {
    public let text: String
    public var description: String { text }

    /// - Throws: `ZeroMQError.invalidKey`.
    public init(_ text: String) throws {
        guard decoded(text) != nil else { throw ZeroMQError.invalidKey }
        self.text = text
    }

    /// 32 bytes.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count == 32, let text = encoded(Array(bytes)) else { return nil }
        self.text = text
    }
}

/// A pair of keys. It does not show its secret when it is printed.
public struct CurveKeys: Sendable, CustomReflectable {
    public let publicKey: CurvePublicKey
    /// 40 characters of Z85, for the file that it is kept in.
    public let secretText: String

    /// A new pair.
    public init() throws {
        var publicText = [CChar](repeating: 0, count: 41)
        var secretText = [CChar](repeating: 0, count: 41)
        guard zmq_curve_keypair(&publicText, &secretText) == 0 else { throw ZeroMQError.last("zmq_curve_keypair") }
        publicKey = try CurvePublicKey(text(publicText))
        self.secretText = text(secretText)
    }

    /// The pair of a secret key.
    /// - Throws: `ZeroMQError.invalidKey`.
    public init(secret: String) throws {
        guard decoded(secret) != nil else { throw ZeroMQError.invalidKey }
        var publicText = [CChar](repeating: 0, count: 41)
        guard zmq_curve_public(&publicText, secret) == 0 else { throw ZeroMQError.last("zmq_curve_public") }
        publicKey = try CurvePublicKey(text(publicText))
        secretText = secret
    }

    /// The pair of a secret key of 32 bytes.
    public init(secret: [UInt8]) throws {
        guard secret.count == 32, let text = encoded(secret) else { throw ZeroMQError.invalidKey }
        try self.init(secret: text)
    }

    public var customMirror: Mirror { Mirror(self, children: ["publicKey": publicKey.text]) }
}

private func text(_ characters: [CChar]) -> String {
    String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

private func decoded(_ key: String) -> [UInt8]? {
    guard key.utf8.count == 40 else { return nil }
    var bytes = [UInt8](repeating: 0, count: 32)
    return zmq_z85_decode(&bytes, key) == nil ? nil : bytes
}

private func encoded(_ bytes: [UInt8]) -> String? {
    var characters = [CChar](repeating: 0, count: 41)
    return zmq_z85_encode(&characters, bytes, bytes.count) == nil ? nil : text(characters)
}
