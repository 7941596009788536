/// Values that take time to make and never change, by what they are made of. Too many of them are forgotten all at once.
public final class Remembered<Key: Hashable, Value>: Sendable {
    private let most: Int
    private let values = Lock<[Key: Value]>([:])

    public init(most: Int) { self.most = most }

    public func value(for key: Key, make: () throws -> Value) rethrows -> Value {
        if let known = values.withLock({ $0[key] }) { return known }
        let value = try make()
        values.withLock { values in
            if values.count >= most { values.removeAll() }
            values[key] = value
        }
        return value
    }
}
