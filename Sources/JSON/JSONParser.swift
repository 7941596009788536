import CSimdJSON
import Dispatch
import Threads

/// Why a text is refused.
public enum JSONError: Error, Sendable, Equatable {
    /// Not JSON of RFC 8259 in UTF-8, or a number, surrogate or NUL that we do not accept.
    case syntax
    case tooDeep(limit: Int)
    case tooManyMembers(limit: Int)
    case tooManyElements(limit: Int)
    case outOfMemory
}

/// Sizes beyond which a text is refused (04 §8).
public struct JSONLimits: Sendable {
    public var depth = 64
    public var members = 10_000
    public var elements = 100_000
    /// Whether strings may hold NUL, which Postgres cannot store, and lone surrogates.
    public var allowsAnyText = false
    public init() {}
}

/// Parses JSON with simdjson, validating every byte.
///
/// A parser's buffers take many times the text, so idle ones are kept and lent, those of large texts are freed at once, and few large texts are
/// parsed at a time. A parser serves one call at a time.
public final class JSONParser: Sendable {
    private let idle = Lock<[Handle]>([])
    private let largeTexts = DispatchSemaphore(value: 0)
    private let limits: JSONLimits
    private static let keptIdle = 16
    private static let largeText = 256 << 10
    private static let largeTextsAtATime = 4

    public init(limits: JSONLimits = JSONLimits()) {
        self.limits = limits
        for _ in 0..<Self.largeTextsAtATime { largeTexts.signal() }
    }

    /// Lends the parsed document to `body`; elements must not be used after it returns.
    /// - Throws: `JSONError`, or what `body` throws.
    public func parse<Result>(_ bytes: UnsafeRawBufferPointer, _ body: (JSONElement) throws -> Result) throws -> Result {
        guard bytes.count > Self.largeText else {
            let handle = try idle.withLock { $0.popLast() } ?? Handle(maxDepth: limits.depth)
            defer { idle.withLock { if $0.count < Self.keptIdle { $0.append(handle) } } }
            return try parse(bytes, with: handle, body)
        }
        largeTexts.wait()
        defer { largeTexts.signal() }
        return try parse(bytes, with: try Handle(maxDepth: limits.depth), body)
    }

    private func parse<Result>(
        _ bytes: UnsafeRawBufferPointer, with handle: Handle, _ body: (JSONElement) throws -> Result
    ) throws -> Result {
        var root = xj_element()
        let source = bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
        switch xj_parse(handle.pointer, source, bytes.count, limits.members, limits.elements, limits.allowsAnyText, &root) {
        case XJ_OK: break
        case XJ_TOO_DEEP: throw JSONError.tooDeep(limit: limits.depth)
        case XJ_TOO_MANY_MEMBERS: throw JSONError.tooManyMembers(limit: limits.members)
        case XJ_TOO_MANY_ELEMENTS: throw JSONError.tooManyElements(limit: limits.elements)
        case XJ_MEMORY: throw JSONError.outOfMemory
        default: throw JSONError.syntax
        }
        let begin = xj_root_begin(source, bytes.count)
        return try body(JSONElement(raw: root, source: source, range: begin..<bytes.count))
    }

    public func parse<Result>(_ bytes: [UInt8], _ body: (JSONElement) throws -> Result) throws -> Result {
        try bytes.withUnsafeBytes { try parse($0, body) }
    }
}

/// The owner of one C parser. `@unchecked Sendable`: it is reachable only from the idle list, under its lock, or from the one call it is lent to.
private final class Handle: @unchecked Sendable {
    let pointer: OpaquePointer

    init(maxDepth: Int) throws {
        guard let pointer = xj_parser_new(maxDepth) else { throw JSONError.outOfMemory }
        self.pointer = pointer
    }

    deinit { xj_parser_free(pointer) }
}
