/// One word of a command.
public enum RedisArgument: Sendable, ExpressibleByStringLiteral, ExpressibleByIntegerLiteral {
    case string(String)
    case bytes([UInt8])
    case integer(Int)

    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int) { self = .integer(value) }
}

/// Writes commands as the protocol has them (https://redis.io/docs/latest/develop/reference/protocol-spec/), into one buffer that is kept.
struct CommandWriter {
    private(set) var bytes: [UInt8] = []

    mutating func removeAll() { bytes.removeAll(keepingCapacity: bytes.capacity <= 64 * 1024) }

    mutating func write(_ arguments: some Collection<RedisArgument>) {
        writeHead("*", arguments.count)
        for argument in arguments {
            switch argument {
            case .string(let text):
                var text = text
                text.withUTF8 { writeBulk($0) }
            case .bytes(let bytes):
                bytes.withUnsafeBufferPointer { writeBulk($0) }
            case .integer(let number):
                withDecimalDigits(of: number) { writeBulk($0) }
            }
        }
    }

    private mutating func writeHead(_ kind: Unicode.Scalar, _ count: Int) {
        bytes.append(UInt8(ascii: kind))
        withDecimalDigits(of: count) { bytes.append(contentsOf: $0) }
        writeLineEnd()
    }

    private mutating func writeBulk(_ content: UnsafeBufferPointer<UInt8>) {
        writeHead("$", content.count)
        bytes.append(contentsOf: content)
        writeLineEnd()
    }

    private mutating func writeLineEnd() {
        bytes.append(UInt8(ascii: "\r"))
        bytes.append(UInt8(ascii: "\n"))
    }
}

/// Gives the digits of a number without making a String.
private func withDecimalDigits<T>(of number: Int, _ body: (UnsafeBufferPointer<UInt8>) -> T) -> T {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
        var start = digits.count
        var rest = number.magnitude
        repeat {
            start -= 1
            digits[start] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while rest > 0
        if number < 0 {
            start -= 1
            digits[start] = UInt8(ascii: "-")
        }
        return body(UnsafeBufferPointer(rebasing: digits[start...]))
    }
}
