import Glibc

/// Cuts a byte stream into the data of its events (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream).
///
/// An event that lies in one piece with one data line is given where it lies; only others are copied.
/// Fields other than `data` are left out. An event that the stream's end cuts off is not given.
public struct SSEParser: ~Copyable {
    public enum Step {
        /// Valid until the next call, and no longer than the bytes given.
        case data(UnsafeRawBufferPointer)
        case needsMore
        case tooLarge
    }

    private let limit: Int
    /// A line without its end yet.
    private var line = ByteStore()
    /// The data of an event that is not complete, or of the one just given.
    private var data = ByteStore()
    private var hasData = false
    /// The event's only data line, still where it came.
    private var inPlace: UnsafeRawBufferPointer?
    private var hasGivenData = false
    private var skipsLineFeed = false
    private var isAtStart = true

    public init(limit: Int = 4 << 20) { self.limit = limit }

    /// Reads on from `position` in `bytes` to the end of an event or of the bytes.
    public mutating func next(in bytes: UnsafeRawBufferPointer, position: inout Int) -> Step {
        if hasGivenData { forgetEvent() }
        while position < bytes.count {
            if skipsLineFeed {
                skipsLineFeed = false
                if bytes[position] == .lineFeed {
                    position += 1
                    continue
                }
            }
            let rest = UnsafeRawBufferPointer(rebasing: bytes[position...])
            guard let length = Self.lineLength(in: rest) else {
                line.append(rest)
                position = bytes.count
                break
            }
            skipsLineFeed = rest[length] == .carriageReturn
            position += length + 1
            if read(UnsafeRawBufferPointer(rebasing: rest[..<length])) {
                hasGivenData = true
                return .data(inPlace ?? data.bytes)
            }
            if isTooLarge { return .tooLarge }
        }
        keepPlace()
        return isTooLarge ? .tooLarge : .needsMore
    }

    private var isTooLarge: Bool { line.bytes.count + data.bytes.count + (inPlace?.count ?? 0) > limit }

    private static func lineLength(in bytes: UnsafeRawBufferPointer) -> Int? {
        guard let start = bytes.baseAddress else { return nil }
        let lineFeed = memchr(start, Int32(UInt8.lineFeed), bytes.count)
        let beforeLineFeed = lineFeed.map { UnsafeRawPointer($0) - start } ?? bytes.count
        if let carriageReturn = memchr(start, Int32(UInt8.carriageReturn), beforeLineFeed) {
            return UnsafeRawPointer(carriageReturn) - start
        }
        return lineFeed == nil ? nil : beforeLineFeed
    }

    /// Takes the end of a line; true when it ends an event.
    private mutating func read(_ end: UnsafeRawBufferPointer) -> Bool {
        guard !line.isEmpty else { return interpret(end, isInPlace: true) }
        line.append(end)
        defer { line.removeAll() }
        return interpret(line.bytes, isInPlace: false)
    }

    private mutating func interpret(_ whole: UnsafeRawBufferPointer, isInPlace: Bool) -> Bool {
        var text = whole
        if isAtStart {
            isAtStart = false
            if text.starts(with: [0xEF, 0xBB, 0xBF]) { text = UnsafeRawBufferPointer(rebasing: text[3...]) }
        }
        if text.isEmpty { return hasData }
        guard let value = Self.dataValue(of: text) else { return false }
        add(value, isInPlace: isInPlace)
        return false
    }

    /// What follows `data:`, without one space; nil for other lines.
    private static func dataValue(of text: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        guard text.starts(with: "data".utf8) else { return nil }
        if text.count == 4 { return UnsafeRawBufferPointer(rebasing: text[4...]) }
        guard text[4] == UInt8(ascii: ":") else { return nil }
        let hasSpace = text.count > 5 && text[5] == UInt8(ascii: " ")
        return UnsafeRawBufferPointer(rebasing: text[(hasSpace ? 6 : 5)...])
    }

    private mutating func add(_ value: UnsafeRawBufferPointer, isInPlace: Bool) {
        if hasData {
            keepPlace()
            withUnsafeBytes(of: UInt8.lineFeed) { data.append($0) }
            data.append(value)
        } else if isInPlace {
            inPlace = value
        } else {
            data.append(value)
        }
        hasData = true
    }

    /// Copies what lies in bytes that will not come again.
    private mutating func keepPlace() {
        guard let place = inPlace else { return }
        data.append(place)
        inPlace = nil
    }

    private mutating func forgetEvent() {
        hasGivenData = false
        hasData = false
        inPlace = nil
        data.removeAll()
    }
}

extension UInt8 {
    fileprivate static let lineFeed = UInt8(ascii: "\n")
    fileprivate static let carriageReturn = UInt8(ascii: "\r")
}
