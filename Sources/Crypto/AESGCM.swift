import CCrypto

/// AES-256-GCM by OpenSSL; see openssl.org/docs/man3.0/man3/EVP_EncryptInit.html
enum AESGCM {
    static let tagLength = 16

    /// The ciphertext followed by its tag.
    static func seal(_ plain: [UInt8], key: [UInt8], nonce: [UInt8], authenticating context: [UInt8]) throws -> [UInt8] {
        var text = plain
        try seal(&text, from: 0, key: key, nonce: nonce, authenticating: context)
        return text
    }

    /// Seals what is behind the first `start` bytes where it stands, and adds its tag. With room for the tag nothing is copied.
    static func seal(_ text: inout [UInt8], from start: Int, key: [UInt8], nonce: [UInt8], authenticating context: [UInt8]) throws {
        let cipher = try Cipher()
        let count = text.count - start
        text.append(contentsOf: repeatElement(0, count: tagLength))
        var length: Int32 = 0
        let succeeded = text.withUnsafeMutableBufferPointer { text in
            let place = text.baseAddress! + start
            return EVP_EncryptInit_ex(cipher.pointer, EVP_aes_256_gcm(), nil, key, nonce) == 1
                && EVP_EncryptUpdate(cipher.pointer, nil, &length, context, Int32(context.count)) == 1
                && EVP_EncryptUpdate(cipher.pointer, place, &length, place, Int32(count)) == 1
                && EVP_EncryptFinal_ex(cipher.pointer, place + count, &length) == 1
                && EVP_CIPHER_CTX_ctrl(cipher.pointer, EVP_CTRL_AEAD_GET_TAG, Int32(tagLength), place + count) == 1
        }
        guard succeeded else { throw SealingError.internalFault }
    }

    static func open(_ sealed: [UInt8], key: [UInt8], nonce: [UInt8], authenticating context: [UInt8]) throws -> [UInt8] {
        var text = sealed
        let plain = try open(&text, from: 0, key: key, nonce: nonce, authenticating: context)
        text.removeLast(text.count - plain.upperBound)
        return text
    }

    /// Opens what is behind the first `start` bytes where it stands.
    /// - Returns: where the plain bytes are. After an error what is there must not be used.
    static func open(
        _ text: inout [UInt8], from start: Int, key: [UInt8], nonce: [UInt8], authenticating context: [UInt8]
    ) throws -> Range<Int> {
        guard text.count >= start + tagLength else { throw SealingError.cannotOpen }
        let cipher = try Cipher()
        let end = text.count - tagLength
        var tag = Array(text[end...])
        var length: Int32 = 0
        let succeeded = text.withUnsafeMutableBufferPointer { text in
            let place = text.baseAddress! + start
            return EVP_DecryptInit_ex(cipher.pointer, EVP_aes_256_gcm(), nil, key, nonce) == 1
                && EVP_DecryptUpdate(cipher.pointer, nil, &length, context, Int32(context.count)) == 1
                && EVP_DecryptUpdate(cipher.pointer, place, &length, place, Int32(end - start)) == 1
                && EVP_CIPHER_CTX_ctrl(cipher.pointer, EVP_CTRL_AEAD_SET_TAG, Int32(tagLength), &tag) == 1
                && EVP_DecryptFinal_ex(cipher.pointer, text.baseAddress! + end, &length) == 1
        }
        // Only a matching tag makes the final call succeed; until then the text is not to be trusted.
        guard succeeded else { throw SealingError.cannotOpen }
        return start..<end
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
