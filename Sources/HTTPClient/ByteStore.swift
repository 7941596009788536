import Glibc

/// Bytes at an address that stays while nothing is appended, for C calls that keep a pointer.
package struct ByteStore: ~Copyable {
    package private(set) var start: UnsafeMutableRawPointer?
    private var count = 0
    private var capacity = 0

    package init() {}
    deinit { free(start) }

    package var isEmpty: Bool { count == 0 }
    package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: start, count: count) }

    package mutating func append(_ added: UnsafeRawBufferPointer) {
        guard let source = added.baseAddress, added.count > 0 else { return }
        if count + added.count > capacity { grow(to: max(count + added.count, capacity * 2)) }
        start?.advanced(by: count).copyMemory(from: source, byteCount: added.count)
        count += added.count
    }

    package mutating func removeAll() { count = 0 }

    /// Empties it and gives large memory back.
    package mutating func shrink() {
        count = 0
        guard capacity > 16 * 1024 else { return }
        free(start)
        start = nil
        capacity = 0
    }

    private mutating func grow(to wanted: Int) {
        guard let grown = realloc(start, wanted) else { fatalError("out of memory") }
        start = grown
        capacity = wanted
    }
}
