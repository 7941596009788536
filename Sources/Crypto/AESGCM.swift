import CCrypto

/// AES-256-GCM by OpenSSL; see openssl.org/docs/man3.0/man3/EVP_EncryptInit.html
enum AESGCM {
    static let tagLength = 16

    /// The ciphertext followed by its tag.
    static func seal(_ plain: [UInt8], key: [UInt8], nonce: [UInt8], authenticating context: [UInt8]) throws -> [UInt8] {
        let cipher = try Cipher()
        var output = [UInt8](repeating: 0, count: plain.count + tagLength)
        var length: Int32 = 0
        let succeeded = output.withUnsafeMutableBufferPointer { output in
            EVP_EncryptInit_ex(cipher.pointer, EVP_aes_256_gcm(), nil, key, nonce) == 1
                && EVP_EncryptUpdate(cipher.pointer, nil, &length, context, Int32(context.count)) == 1
                && EVP_EncryptUpdate(cipher.pointer, output.baseAddress, &length, plain, Int32(plain.count)) == 1
                && EVP_EncryptFinal_ex(cipher.pointer, output.baseAddress! + plain.count, &length) == 1
                && EVP_CIPHER_CTX_ctrl(
                    cipher.pointer, EVP_CTRL_AEAD_GET_TAG, Int32(tagLength), output.baseAddress! + plain.count) == 1
        }
        guard succeeded else { throw SealingError.internalFault }
        return output
    }

    static func open(_ sealed: [UInt8], key: [UInt8], nonce: [UInt8], authenticating context: [UInt8]) throws -> [UInt8] {
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
                && EVP_DecryptUpdate(cipher.pointer, output.baseAddress, &length, sealed, Int32(count)) == 1
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
