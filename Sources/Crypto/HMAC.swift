import CCrypto

/// RFC 2104; see openssl.org/docs/man3.0/man3/HMAC.html
public enum HMAC {
    public static func sha256(key: [UInt8], _ message: [UInt8]) -> [UInt8] {
        var output = [UInt8](repeating: 0, count: 32)
        var length: UInt32 = 0
        let made = CCrypto.HMAC(EVP_sha256(), key, Int32(key.count), message, message.count, &output, &length)
        // It only fails without memory, or in an OpenSSL without SHA-256; nothing can go on then.
        precondition(made != nil && length == 32, "OpenSSL could not compute an HMAC")
        return output
    }
}
