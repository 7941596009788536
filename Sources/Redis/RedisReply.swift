import CRedis

/// What Redis answered.
public enum RedisReply: Sendable, Equatable {
    case null
    case status(String)
    case integer(Int)
    case bytes([UInt8])
    case array([RedisReply])
    /// Only inside arrays and pipelines; elsewhere an error is thrown.
    case error(String)
}

extension RedisReply {
    public var integer: Int? {
        if case .integer(let value) = self { value } else { nil }
    }

    public var array: [RedisReply]? {
        if case .array(let values) = self { values } else { nil }
    }

    /// The text of a status or of bytes; bytes that are not UTF-8 are repaired.
    public var string: String? {
        switch self {
        case .status(let text): text
        case .bytes(let bytes): String(decoding: bytes, as: UTF8.self)
        default: nil
        }
    }

    init(_ reply: UnsafePointer<redisReply>) {
        let value = reply.pointee
        switch value.type {
        case REDIS_REPLY_INTEGER: self = .integer(Int(value.integer))
        case REDIS_REPLY_STRING: self = .bytes(Array(Self.content(of: value)))
        case REDIS_REPLY_STATUS: self = .status(String(decoding: Self.content(of: value), as: UTF8.self))
        case REDIS_REPLY_ERROR: self = .error(String(decoding: Self.content(of: value), as: UTF8.self))
        case REDIS_REPLY_ARRAY:
            let elements = UnsafeBufferPointer(start: value.element, count: value.elements)
            self = .array(elements.map { $0.map { RedisReply($0) } ?? .null })
        default: self = .null
        }
    }

    private static func content(of reply: redisReply) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: reply.str, count: reply.len)
    }
}
