/// Stands where no store is configured: everything else works, and what needs one says so.
struct AbsentStore: ObjectStore {
    private static let error = StoreError.refused("store.url is not set")

    func put(_ key: String, _ bytes: [UInt8]) throws { throw Self.error }
    func get(_ key: String, range: Range<Int>?, _ receive: (UnsafeRawBufferPointer) throws -> Void) throws { throw Self.error }
    func size(of key: String) throws -> Int? { throw Self.error }
    func delete(_ key: String) throws { throw Self.error }
    func list(prefix: String, after: String?, limit: Int) throws -> StoredObjects { throw Self.error }
    func presignedGet(_ key: String, seconds: Int) throws -> String { throw Self.error }
}
