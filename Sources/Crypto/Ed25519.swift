import CSodium

/// Signatures of RFC 8032; see doc.libsodium.org/public-key_cryptography/public-key_signatures
public enum Ed25519 {
    public static let publicKeyLength = 32
    public static let signatureLength = 64

    /// A pair of keys. It does not show its secret when it is printed.
    public struct Keys: Sendable, CustomReflectable {
        /// 32 bytes.
        public let publicKey: [UInt8]
        private let secret: [UInt8]

        /// - Parameter seed: 32 bytes of a generator that is fit for keys; the same seed gives the same pair.
        public init(seed: [UInt8]) {
            precondition(seed.count == Int(crypto_sign_SEEDBYTES), "a seed has 32 bytes")
            var publicKey = [UInt8](repeating: 0, count: Int(crypto_sign_PUBLICKEYBYTES))
            var secret = [UInt8](repeating: 0, count: Int(crypto_sign_SECRETKEYBYTES))
            _ = crypto_sign_seed_keypair(&publicKey, &secret, seed)
            self.publicKey = publicKey
            self.secret = secret
        }

        public func signature(of bytes: [UInt8]) -> [UInt8] {
            var signature = [UInt8](repeating: 0, count: Ed25519.signatureLength)
            _ = crypto_sign_detached(&signature, nil, bytes, UInt64(bytes.count), secret)
            return signature
        }

        public var customMirror: Mirror { Mirror(self, children: ["publicKey": publicKey]) }
    }

    /// Whether the holder of a public key has signed these bytes. A key or signature of another length is a no.
    public static func isSigned(_ bytes: [UInt8], _ signature: [UInt8], by publicKey: [UInt8]) -> Bool {
        guard signature.count == signatureLength, publicKey.count == publicKeyLength else { return false }
        return crypto_sign_verify_detached(signature, bytes, UInt64(bytes.count), publicKey) == 0
    }
}
