import CCrypto

/// AES-256-GCM by OpenSSL; see openssl.org/docs/man3.0/man3/EVP_EncryptInit.html
enum AESGCM {
    static let tagLength = 16

    /// The ciphertext followed by its tag.
    static func seal(_ plain: [UInt8], key: [UInt8], nonce: [UInt8], authenticating context: [UInt8]) throws -> [UInt8] {
        try plain.withUnsafeBytes { try seal($0, after: [], key: key, nonce: nonce, authenticating: context) }
    }

    /// - Parameter head: what the answer begins with; it is not changed. All of it is written once, so that large texts are not copied.
    static func seal(
        _ plain: UnsafeRawBufferPointer, after head: [UInt8], key: [UInt8], nonce: [UInt8], authenticating context: [UInt8]
    ) throws -> [UInt8] {
        let cipher = try Cipher()
        var output: [UInt8] = []
        output.reserveCapacity(head.count + plain.count + tagLength)
        output.append(contentsOf: head)
        output.append(contentsOf: plain)
        output.append(contentsOf: repeatElement(0, count: tagLength))
        var length: Int32 = 0
        let succeeded = output.withUnsafeMutableBufferPointer { output in
            // In place.
            let text = output.baseAddress! + head.count
            return EVP_EncryptInit_ex(cipher.pointer, EVP_aes_256_gcm(), nil, key, nonce) == 1
                && EVP_EncryptUpdate(cipher.pointer, nil, &length, context, Int32(context.count)) == 1
                && EVP_EncryptUpdate(cipher.pointer, text, &length, text, Int32(plain.count)) == 1
                && EVP_EncryptFinal_ex(cipher.pointer, text + plain.count, &length) == 1
                && EVP_CIPHER_CTX_ctrl(cipher.pointer, EVP_CTRL_AEAD_GET_TAG, Int32(tagLength), text + plain.count) == 1
        }
        guard succeeded else { throw SealingError.internalFault }
        return output
    }

    static func open(_ sealed: [UInt8], key: [UInt8], nonce: [UInt8], authenticating context: [UInt8]) throws -> [UInt8] {
        try sealed.withUnsafeBytes { try open($0, key: key, nonce: nonce, authenticating: context) }
    }

    static func open(
        _ sealed: UnsafeRawBufferPointer, key: [UInt8], nonce: [UInt8], authenticating context: [UInt8]
    ) throws -> [UInt8] {
        guard sealed.count >= tagLength else { throw SealingError.cannotOpen }
        let cipher = try Cipher()
        let count = sealed.count - tagLength
        var tag = Array(sealed[count...])
        // One spare byte keeps the base address valid for an empty text.
        var output = [UInt8](repeating: 0, count: count + 1)
        var length: Int32 = 0
        let succeeded = output.withUnsafeMutableBufferPointer { output in
            EVP_DecryptInit_ex(cipher.pointer, EVP_aes_256_gcm(), nil, key, nonce) == 1
                && EVP_DecryptUpdate(cipher.pointer, nil, &length, context, Int32(context.count)) == 1
                && EVP_DecryptUpdate(
                    cipher.pointer, output.baseAddress, &length, sealed.baseAddress!.assumingMemoryBound(to: UInt8.self), Int32(count))
                    == 1
                && EVP_CIPHER_CTX_ctrl(cipher.pointer, EVP_CTRL_AEAD_SET_TAG, Int32(tagLength), &tag) == 1
                && EVP_DecryptFinal_ex(cipher.pointer, output.baseAddress! + count, &length) == 1
        }
        // Only a matching tag makes the final call succeed; until then the text is not to be trusted.
        guard succeeded else { throw SealingError.cannotOpen }
        output.removeLast()
        return output
    }
}

/// A cipher context, freed (and cleaned) with its owner.
private final class Cipher {
    let pointer: OpaquePointer

    init() throws {
        guard let pointer = EVP_CIPHER_CTX_new() else { throw SealingError.internalFault }
        self.pointer = pointer
    }

    deinit { EVP_CIPHER_CTX_free(pointer) }
}
