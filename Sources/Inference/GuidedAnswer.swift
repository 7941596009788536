/// Reads an answer that was guided by a `CallGuide`, as it comes, and says what calls and text it is. Pure: pieces of text in, events out.
///
/// Pieces of arguments are the engine's own bytes, so that a stream and a whole answer have the same. The text is JSON that a schema shaped; anything
/// else is `MalformedAnswer`.
struct GuidedAnswer {
    enum Event: Equatable {
        /// A call begins. Calls are numbered from 0.
        case call(Int, name: String)
        case arguments(Int, [UInt8])
        /// A piece of the answer that is no call.
        case content([UInt8])
    }

    private enum State: Equatable {
        /// Before the first value.
        case start
        /// Where a call of the list may begin.
        case element
        /// Where a member's name begins.
        case key
        case inKey([UInt8])
        case colon([UInt8])
        case value([UInt8])
        case inName([UInt8])
        /// Within the value that is passed on.
        case passing
        /// After a member.
        case member
        case end
    }

    private var state: State
    private let afterValue: State
    private let isList: Bool
    /// Of the call that is read.
    private var number = -1
    private var hasArguments = true
    private var isContent = false
    private var depth = 0
    private var isInString = false
    private var isEscaped = false

    /// Whether the text is complete.
    var isComplete: Bool { state == .end }
    private(set) var events: [Event] = []

    init(_ shape: CallGuide.Shape) {
        switch shape {
        case .arguments(let name):
            state = .value(Self.argumentsKey)
            afterValue = .end
            isList = false
            hasArguments = false
            number = 0
            events = [.call(0, name: name)]
        case .calls(let isList):
            state = .start
            afterValue = .member
            self.isList = isList
        }
    }

    private static let nameKey = Array("name".utf8)
    private static let argumentsKey = Array("arguments".utf8)
    private static let answerKey = Array("answer".utf8)

    /// - Returns: what the text adds.
    mutating func receive(_ text: UnsafeRawBufferPointer) throws -> [Event] {
        defer { events = [] }
        var begin = 0
        for (index, byte) in text.enumerated() {
            if state != .passing {
                try step(byte)
                guard state == .passing else { continue }
                begin = index
            }
            switch place(of: byte) {
            case .inside: continue
            case .last:
                add(text[begin...index])
                state = afterValue
            case .behind:
                add(text[begin..<index])
                state = afterValue
                try step(byte)
            }
        }
        if state == .passing { add(text[begin...]) }
        return events
    }

    private mutating func add(_ piece: Slice<UnsafeRawBufferPointer>) {
        guard !piece.isEmpty else { return }
        events.append(isContent ? .content(Array(piece)) : .arguments(number, Array(piece)))
    }

    private mutating func step(_ byte: UInt8) throws {
        switch (state, byte) {
        case (.inKey(let name), UInt8(ascii: "\"")): state = .colon(name)
        case (.inKey(let name), _): state = .inKey(try Self.extended(name, byte))
        case (.inName(let name), UInt8(ascii: "\"")):
            number += 1
            hasArguments = false
            events.append(.call(number, name: String(decoding: name, as: UTF8.self)))
            state = .member
        case (.inName(let name), _): state = .inName(try Self.extended(name, byte))
        case (_, 0x20), (_, 0x09), (_, 0x0A), (_, 0x0D): break
        case (.start, UInt8(ascii: "[")) where isList: state = .element
        case (.start, UInt8(ascii: "{")), (.element, UInt8(ascii: "{")): state = .key
        case (.element, UInt8(ascii: ",")) where number >= 0: break
        case (.element, UInt8(ascii: "]")): state = .end
        case (.key, UInt8(ascii: "\"")): state = .inKey([])
        case (.colon(let name), UInt8(ascii: ":")): state = .value(name)
        case (.value(Self.nameKey), UInt8(ascii: "\"")): state = .inName([])
        case (.value(Self.argumentsKey), _) where !hasArguments: try begin(byte, isContent: false)
        case (.value(Self.answerKey), _): try begin(byte, isContent: true)
        case (.member, UInt8(ascii: ",")): state = .key
        case (.member, UInt8(ascii: "}")) where hasArguments: state = isList && !isContent ? .element : .end
        default: throw MalformedAnswer()
        }
    }

    /// Names are short and have nothing to escape.
    private static func extended(_ name: [UInt8], _ byte: UInt8) throws -> [UInt8] {
        guard name.count < 64, byte != UInt8(ascii: "\\") else { throw MalformedAnswer() }
        return name + [byte]
    }

    private mutating func begin(_ byte: UInt8, isContent: Bool) throws {
        guard !"}],:".utf8.contains(byte) else { throw MalformedAnswer() }
        self.isContent = isContent
        hasArguments = true
        depth = 0
        state = .passing
    }

    private enum Place { case inside, last, behind }

    /// Where a byte stands to the value that is passed on: only the bracket or quote that ends a value is part of it.
    private mutating func place(of byte: UInt8) -> Place {
        if isInString {
            if isEscaped {
                isEscaped = false
            } else if byte == UInt8(ascii: "\\") {
                isEscaped = true
            } else if byte == UInt8(ascii: "\"") {
                isInString = false
                return depth == 0 ? .last : .inside
            }
            return .inside
        }
        switch byte {
        case UInt8(ascii: "\""): isInString = true
        case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
        case UInt8(ascii: "}"), UInt8(ascii: "]"):
            if depth == 0 { return .behind }
            depth -= 1
            return depth == 0 ? .last : .inside
        case UInt8(ascii: ","), 0x20, 0x09, 0x0A, 0x0D: return depth == 0 ? .behind : .inside
        default: break
        }
        return .inside
    }
}
