import HTTPClient
import Testing

@Suite struct SSEParserTests {
    /// What the parser gives for bytes that come in pieces of the given size.
    static func events(_ text: [UInt8], pieces size: Int, limit: Int = 4 << 20) -> [String] {
        var parser = SSEParser(limit: limit)
        var found: [String] = []
        for start in stride(from: 0, to: text.count, by: size) {
            let piece = Array(text[start..<min(start + size, text.count)])
            piece.withUnsafeBytes { bytes in
                var position = 0
                while position < bytes.count {
                    switch parser.next(in: bytes, position: &position) {
                    case .data(let data): found.append(String(decoding: data, as: UTF8.self))
                    case .needsMore: continue
                    case .tooLarge:
                        found.append("too large")
                        return
                    }
                }
            }
        }
        return found
    }

    static func isSameForEverySplit(_ text: String, _ expected: [String]) -> Bool {
        let bytes = Array(text.utf8)
        return (1...max(1, bytes.count)).allSatisfy { events(bytes, pieces: $0) == expected }
    }

    @Test(arguments: [
        ("data: a\n\ndata: b\n\n", ["a", "b"]),
        ("data:a\r\n\r\ndata:  b\r\n\r\n", ["a", " b"]),
        ("data: a\r\rdata: b\r\r", ["a", "b"]),
        (": comment\n\ndata: a\n\n: ping\n\n", ["a"]),
        ("data: a\ndata: b\ndata\ndata:\n\n", ["a\nb\n\n"]),
        ("event: x\nid: 1\nretry: 5\ndata: a\n\n", ["a"]),
        ("\u{FEFF}data: a\n\n", ["a"]),
        ("data: \u{FEFF}a\n\n", ["\u{FEFF}a"]),
        ("data:\n\n", [""]),
        ("\n\n\n", []),
        ("database: a\n\ndat: b\n\nDATA: c\n\n", []),
        ("data: a\n\ndata: cut off", ["a"]),
        ("data: a\n\ndata: cut off\n", ["a"]),
        ("data: {\"a\":\"ä€😀\"}\n\ndata: [DONE]\n\n", ["{\"a\":\"ä€😀\"}", "[DONE]"]),
        ("data: a\r\n\ndata: b\n\r\n", ["a", "b"]),
        ("", []),
    ]) func everySplitGivesTheSame(text: String, expected: [String]) {
        #expect(Self.isSameForEverySplit(text, expected))
    }

    @Test func randomStreamsGiveTheSameForEverySplit() {
        let parts = ["data: a\n", "data: b", "\n", "\r\n", "\r", ":c\n", "data", "x: y\n", "\u{FEFF}", "data:\n"]
        for _ in 0..<300 {
            let text = Array((0..<12).map { _ in parts.randomElement() ?? "" }.joined().utf8)
            let whole = Self.events(text, pieces: max(1, text.count))
            for size in 1..<max(2, text.count) { #expect(Self.events(text, pieces: size) == whole) }
        }
    }

    @Test(arguments: ["data: ", ": ", "data: x\ndata: "]) func hugeEventsAreRefused(start: String) {
        let text = Array((start + String(repeating: "x", count: 3000)).utf8)
        #expect(Self.events(text, pieces: 100, limit: 1000).first == "too large")
    }

    @Test func anEventAsLargeAsTheLimitPasses() {
        let data = String(repeating: "x", count: 900)
        #expect(Self.events(Array("data: \(data)\n\ndata: \(data)\n\n".utf8), pieces: 64, limit: 1000) == [data, data])
    }
}
