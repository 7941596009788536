/// One value of MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md), without extension types, which nothing of ours uses.
public enum MessagePackValue: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int64)
    /// Only what is above `Int64.max`, so that equal numbers are equal values.
    case large(UInt64)
    case double(Double)
    case string(String)
    case binary([UInt8])
    case array([MessagePackValue])
    case map(MessagePackMap)

    public init(_ number: UInt64) {
        self = Int64(exactly: number).map { .integer($0) } ?? .large(number)
    }
}

/// The members of a map in the order in which they were written. Keys are texts, and no key is there twice.
public struct MessagePackMap: Sendable, Equatable, ExpressibleByDictionaryLiteral {
    public typealias Member = (key: String, value: MessagePackValue)

    public private(set) var members: [Member]

    public init() { members = [] }

    /// Members that are known to have keys of their own.
    init(unchecked members: [Member]) { self.members = members }

    public init(dictionaryLiteral elements: (String, MessagePackValue)...) {
        self.init()
        for (key, value) in elements { self[key] = value }
    }

    /// Setting adds or replaces; setting nil removes.
    public subscript(key: String) -> MessagePackValue? {
        get { members.first { $0.key == key }?.value }
        set {
            let place = members.firstIndex { $0.key == key }
            switch (place, newValue) {
            case (let place?, let value?): members[place].value = value
            case (let place?, nil): members.remove(at: place)
            case (nil, let value?): members.append((key, value))
            case (nil, nil): break
            }
        }
    }

    /// Adds a member with a key that is not there yet.
    public mutating func append(_ key: String, _ value: MessagePackValue) {
        assert(self[key] == nil, "\(key) is there already")
        members.append((key, value))
    }

    public static func == (left: MessagePackMap, right: MessagePackMap) -> Bool {
        left.members.elementsEqual(right.members) { $0.key == $1.key && $0.value == $1.value }
    }
}
