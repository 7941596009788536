import Glibc

/// Tries again what failed for a passing reason. That is safe because all calls may be repeated; only bytes that were already given on are not
/// given twice.
struct PatientStore: ObjectStore {
    private let store: any ObjectStore
    private let attempts: Int
    private let pause: Duration

    init(_ store: any ObjectStore, attempts: Int, pause: Duration) {
        self.store = store
        self.attempts = attempts
        self.pause = pause
    }

    func put(_ key: String, _ bytes: [UInt8]) throws { try patiently { try store.put(key, bytes) } }

    func get(_ key: String, range: Range<Int>?, _ receive: (UnsafeRawBufferPointer) throws -> Void) throws {
        var hasBegun = false
        try patiently(unless: { hasBegun }) {
            try store.get(key, range: range) {
                hasBegun = true
                try receive($0)
            }
        }
    }

    func size(of key: String) throws -> Int? { try patiently { try store.size(of: key) } }

    func delete(_ key: String) throws { try patiently { try store.delete(key) } }

    func list(prefix: String, after: String?, limit: Int) throws -> StoredObjects {
        try patiently { try store.list(prefix: prefix, after: after, limit: limit) }
    }

    func presignedGet(_ key: String, seconds: Int) throws -> String { try store.presignedGet(key, seconds: seconds) }

    private func patiently<Value>(unless isTooLate: () -> Bool = { false }, _ call: () throws -> Value) throws -> Value {
        var pause = pause
        for _ in 1..<max(attempts, 1) {
            do {
                return try call()
            } catch let error as StoreError where error.isTransient && !isTooLate() {
                // Half of it is random, so that those who failed together do not come back together.
                usleep(useconds_t(pause.microseconds / 2 + Int.random(in: 0...pause.microseconds / 2)))
                pause *= 4
            }
        }
        return try call()
    }
}

extension Duration {
    fileprivate var microseconds: Int {
        let (seconds, attoseconds) = components
        return Int(seconds) * 1_000_000 + Int(attoseconds / 1_000_000_000_000)
    }
}
