import CCrypto

/// RFC 5869 with SHA-256 and no salt; see openssl.org/docs/man3.0/man3/EVP_PKEY_CTX_set_hkdf_md.html
package enum HKDF {
    package static func sha256(key: [UInt8], info: [UInt8], length: Int) throws -> [UInt8] {
        guard let context = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, nil) else { throw SealingError.internalFault }
        defer { EVP_PKEY_CTX_free(context) }
        var output = [UInt8](repeating: 0, count: length)
        var produced = length
        guard EVP_PKEY_derive_init(context) == 1,
            EVP_PKEY_CTX_set_hkdf_md(context, EVP_sha256()) == 1,
            EVP_PKEY_CTX_set1_hkdf_key(context, key, Int32(key.count)) == 1,
            EVP_PKEY_CTX_add1_hkdf_info(context, info, Int32(info.count)) == 1,
            EVP_PKEY_derive(context, &output, &produced) == 1, produced == length
        else { throw SealingError.internalFault }
        return output
    }
}
