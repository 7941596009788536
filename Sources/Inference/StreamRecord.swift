/// A stream of generated text as it is replayed: the same content in few chunks. Pure: frames in, bytes out.
///
/// Engines send a chunk for each token. Neighbours that only add to the same text of the same choice become one; everything else stays as it was.
package struct StreamRecord {
    /// A frame, or the frames that were joined to one: `head` and `tail` around the text that grows.
    private struct Piece {
        var head: ArraySlice<UInt8>
        var text: [UInt8]
        var tail: ArraySlice<UInt8>
    }

    private var pieces: [Piece] = []
    /// For each choice, by what stands before its delta or text, its last piece. Choices take turns.
    private var last: [ArraySlice<UInt8>: Int] = [:]

    package init() {}

    package mutating func append(_ frames: [UInt8]) {
        var rest = frames[...]
        while !rest.isEmpty {
            let frame = Self.firstFrame(of: rest)
            append(frame: frame)
            rest = rest[frame.endIndex...]
        }
    }

    package var bytes: [UInt8] { pieces.reduce(into: []) { $0 += $1.head + $1.text + $1.tail } }

    private mutating func append(frame: ArraySlice<UInt8>) {
        guard let delta = Self.position(of: Self.deltaOpening, in: frame) ?? Self.position(of: Self.textOpening, in: frame) else {
            // An event of ours, or a comment: what comes after it stays after it.
            pieces.append(Piece(head: frame, text: [], tail: []))
            last = [:]
            return
        }
        let choice = frame[..<delta]
        guard let text = Self.text(in: frame, after: delta) else {
            last[choice] = pieces.count
            pieces.append(Piece(head: frame, text: [], tail: []))
            return
        }
        let (head, tail) = (frame[..<text.startIndex], frame[text.endIndex...])
        if let index = last[choice], pieces[index].head == head, pieces[index].tail == tail {
            pieces[index].text += text
        } else {
            last[choice] = pieces.count
            pieces.append(Piece(head: head, text: Array(text), tail: tail))
        }
    }

    private static let frameEnd = Array("\n\n".utf8)
    private static let deltaOpening = Array(#","delta":{"#.utf8)
    private static let textOpenings = [#""content":""#, #""reasoning_content":""#, #""refusal":""#].map { Array($0.utf8) }
    private static let textClosing = Array(#""},"logprobs":null,"finish_reason":null}"#.utf8)
    /// Of text completions.
    private static let textOpening = Array(#","text":""#.utf8)
    private static let textEnd = Array(#"","logprobs":null,"finish_reason":null}"#.utf8)
    private static let callOpening = Array(#""tool_calls":[{"index":"#.utf8)
    private static let argumentsOpening = Array(#","function":{"arguments":""#.utf8)
    private static let argumentsClosing = Array(#""}}]},"logprobs":null,"finish_reason":null}"#.utf8)

    /// The text that neighbours may be joined by: the only string of the delta. Our own chunks are written without spaces.
    private static func text(in frame: ArraySlice<UInt8>, after delta: Int) -> ArraySlice<UInt8>? {
        if frame[delta...].starts(with: textOpening) { return string(of: frame[(delta + textOpening.count)...], before: textEnd) }
        var rest = frame[(delta + deltaOpening.count)...]
        for opening in textOpenings where rest.starts(with: opening) {
            return string(of: rest.dropFirst(opening.count), before: textClosing)
        }
        guard rest.starts(with: callOpening) else { return nil }
        rest = rest.dropFirst(callOpening.count).drop { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        guard rest.starts(with: argumentsOpening) else { return nil }
        return string(of: rest.dropFirst(argumentsOpening.count), before: argumentsClosing)
    }

    /// The characters up to the closing quote, when `closing` follows.
    private static func string(of rest: ArraySlice<UInt8>, before closing: [UInt8]) -> ArraySlice<UInt8>? {
        var index = rest.startIndex
        while index < rest.endIndex, rest[index] != UInt8(ascii: "\"") { index += rest[index] == UInt8(ascii: "\\") ? 2 : 1 }
        guard index < rest.endIndex, rest[index...].starts(with: closing) else { return nil }
        return rest[..<index]
    }

    private static func firstFrame(of bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        position(of: frameEnd, in: bytes).map { bytes[..<($0 + frameEnd.count)] } ?? bytes
    }

    private static func position(of pattern: [UInt8], in bytes: ArraySlice<UInt8>) -> Int? {
        var index = bytes.startIndex
        while let found = bytes[index...].firstIndex(of: pattern[0]) {
            if bytes[found...].starts(with: pattern) { return found }
            index = found + 1
        }
        return nil
    }
}
