import CCurl

/// The authorities whose certificates are trusted, in OpenSSL's form (https://docs.openssl.org/3.0/man3/X509_STORE_new/).
public final class CertificateAuthorities: @unchecked Sendable {
    // Sendable because the store is filled in init and afterwards only given to OpenSSL, which locks it and counts its owners.
    private let store: OpaquePointer

    /// Those of the operating system, read once.
    public static let system = CertificateAuthorities { X509_STORE_set_default_paths($0) }

    /// Those in a PEM file. A file that cannot be read trusts nobody.
    public convenience init(file: String) {
        self.init { X509_STORE_load_file($0, file) }
    }

    private init(_ fill: (OpaquePointer) -> Int32) {
        guard let store = X509_STORE_new() else { fatalError("out of memory") }
        self.store = store
        _ = fill(store)
    }

    deinit { X509_STORE_free(store) }

    func use(in context: OpaquePointer) { SSL_CTX_set1_cert_store(context, store) }
}
