import CCrypto

/// A SHA-256 digest: four words, so that it hashes and compares without an allocation.
public struct SHA256Digest: Hashable, Sendable {
    private let words: (UInt64, UInt64, UInt64, UInt64)

    init(words: (UInt64, UInt64, UInt64, UInt64)) { self.words = words }

    public var bytes: [UInt8] { withUnsafeBytes(of: words) { Array($0) } }

    public static func == (left: SHA256Digest, right: SHA256Digest) -> Bool { left.words == right.words }

    public func hash(into hasher: inout Hasher) {
        withUnsafeBytes(of: words) { hasher.combine(bytes: $0) }
    }
}

public enum SHA256 {
    public static func digest(_ bytes: UnsafeRawBufferPointer) -> SHA256Digest {
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        let succeeded = withUnsafeMutableBytes(of: &words) { output in
            EVP_Digest(bytes.baseAddress, bytes.count, output.baseAddress, nil, algorithm.pointer, nil)
        }
        // It only fails without memory, or in an OpenSSL without SHA-256; nothing can go on then.
        precondition(succeeded == 1, "OpenSSL could not compute a SHA-256")
        return SHA256Digest(words: words)
    }

    public static func digest(_ bytes: [UInt8]) -> SHA256Digest { bytes.withUnsafeBytes { digest($0) } }

    public static func digest(_ text: String) -> SHA256Digest {
        var text = text
        return text.withUTF8 { digest(UnsafeRawBufferPointer($0)) }
    }

    /// Digests what comes in pieces. It belongs to one thread.
    public final class Stream {
        private let context: OpaquePointer

        public init() {
            guard let context = EVP_MD_CTX_new(), EVP_DigestInit_ex(context, SHA256.algorithm.pointer, nil) == 1 else {
                fatalError("OpenSSL could not begin a SHA-256")
            }
            self.context = context
        }

        deinit { EVP_MD_CTX_free(context) }

        public func add(_ bytes: UnsafeRawBufferPointer) {
            let succeeded = EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
            precondition(succeeded == 1, "OpenSSL could not compute a SHA-256")
        }

        public func add(_ bytes: [UInt8]) { bytes.withUnsafeBytes { add($0) } }

        /// The digest of all. Nothing can be added afterwards.
        public func finish() -> SHA256Digest {
            var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
            let succeeded = withUnsafeMutableBytes(of: &words) {
                EVP_DigestFinal_ex(context, $0.baseAddress!.assumingMemoryBound(to: UInt8.self), nil)
            }
            precondition(succeeded == 1, "OpenSSL could not compute a SHA-256")
            return SHA256Digest(words: words)
        }
    }

    /// `@unchecked Sendable`: OpenSSL fetches the algorithm once; it is never changed or freed, and EVP_MD may be used by many threads.
    private struct Algorithm: @unchecked Sendable { let pointer: OpaquePointer? }
    /// Fetched once: `EVP_sha256()` would look the implementation up in each call.
    private static let algorithm = Algorithm(pointer: EVP_MD_fetch(nil, "SHA256", nil))
}
