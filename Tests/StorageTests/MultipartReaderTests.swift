import Foundation
import OpenAI
import Storage
import Testing

@Suite struct MultipartReaderTests {
    private struct Part: Equatable {
        var head: FormPart
        var bytes: [UInt8] = []
    }

    /// Reads a whole form that comes in pieces of these sizes, the last one again and again.
    private static func read(_ body: [UInt8], boundary: String = "XyZ", pieces: [Int] = [1 << 20]) throws -> [Part] {
        var rest = body[...]
        var sizes = pieces[...]
        let reader = MultipartReader(boundary: boundary) { buffer in
            let size = sizes.count > 1 ? sizes.removeFirst() : sizes.first!
            let piece = rest.prefix(min(size, buffer.count))
            rest = rest.dropFirst(piece.count)
            buffer.copyBytes(from: piece)
            return piece.count
        }
        var parts: [Part] = []
        while true {
            switch try reader.next() {
            case .part(let head): parts.append(Part(head: head))
            case .bytes(let bytes): parts[parts.count - 1].bytes += bytes
            case .endOfPart: break
            case .end:
                #expect(rest.isEmpty)
                return parts
            }
        }
    }

    /// Bytes in which the boundary nearly stands, again and again.
    private static let tricky = Array("a\r\n--Xy\r\n--XyQ\r\r\n-\r\n\r\n--Xy".utf8) + [0, 255, 13, 10, 45, 45, 13]
    private static let form =
        Array("--XyZ\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n".utf8)
        + Array("--XyZ\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a b.txt\"\r\nContent-Type: text/plain\r\n\r\n".utf8)
        + tricky + Array("\r\n--XyZ\r\nContent-Disposition: form-data; name=empty\r\n\r\n\r\n--XyZ--\r\n".utf8)
    private static let parts = [
        Part(head: FormPart(name: "purpose"), bytes: Array("batch".utf8)),
        Part(head: FormPart(name: "file", filename: "a b.txt", contentType: "text/plain"), bytes: tricky),
        Part(head: FormPart(name: "empty")),
    ]

    @Test func aFormIsReadTheSameWhereverItIsSplit() throws {
        #expect(try Self.read(Self.form) == Self.parts)
        for split in 1..<Self.form.count { #expect(try Self.read(Self.form, pieces: [split, 1 << 20]) == Self.parts) }
        for size in 1...70 { #expect(try Self.read(Self.form, pieces: [size]) == Self.parts) }
    }

    @Test func aFormThatIsCutAnywhereIsRefused() {
        let whole = Self.form.count - 2
        for length in 0..<whole {
            #expect(throws: APIError.self, "cut after \(length)") { try Self.read(Array(Self.form.prefix(length))) }
        }
        #expect(throws: Never.self) { try Self.read(Array(Self.form.prefix(whole))) }
    }

    @Test func aBodyLargerThanTheBufferComesInPieces() throws {
        let bytes = (0..<700_000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }
        let form = Array("--XyZ\r\nContent-Disposition: form-data; name=f; filename=x\r\n\r\n".utf8) + bytes + Array("\r\n--XyZ--".utf8)
        for size in [3_001, 131_072, 1 << 20] { #expect(try Self.read(form, pieces: [size]).first?.bytes == bytes) }
    }

    /// Random bytes over the letters that matter never crash it, and give the same however they come.
    @Test func noiseIsReadTheSameOrRefusedTheSame() {
        var generator = SystemRandomNumberGenerator()
        let letters: [[UInt8]] = [
            Array("\r\n".utf8), Array("--XyZ".utf8), Array("--".utf8), [13], [10], Array("Content-Disposition: form-data; name=a".utf8),
            Array("\r\n\r\n".utf8), [0], Array("x".utf8), Array("\"".utf8),
        ]
        for _ in 0..<2_000 {
            var noise = Bool.random(using: &generator) ? Array("--XyZ\r\nContent-Disposition: form-data; name=a\r\n\r\n".utf8) : []
            for _ in 0..<Int.random(in: 0...12, using: &generator) { noise += letters.randomElement(using: &generator)! }
            let whole = Result { try Self.read(noise) }
            let pieces = Result { try Self.read(noise, pieces: [Int.random(in: 1...7, using: &generator)]) }
            switch (whole, pieces) {
            case (.success(let left), .success(let right)): #expect(left == right)
            case (.failure, .failure): break
            default: Issue.record("differs by its pieces: \(noise)")
            }
        }
    }

    @Test(arguments: [
        "preamble\r\n--XyZ\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n--XyZ--",
        "--XyZ\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n--XyZ--epilogue",
        "--XyZ\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n--XyZmore\r\n--XyZ--",
        "--XyZ \r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n--XyZ--",
        "--XyZ\nContent-Disposition: form-data; name=a\n\nb\n--XyZ--",
        "--XyZ\r\n\r\nb\r\n--XyZ--",
        "--XyZ\r\nContent-Type: text/plain\r\n\r\nb\r\n--XyZ--",
        "--XyZ\r\nContent-Disposition: attachment; name=a\r\n\r\nb\r\n--XyZ--",
        "--XyZ\r\nContent-Disposition: form-data\r\n\r\nb\r\n--XyZ--",
        "--XyZ\r\nContent-Disposition: form-data; name=\"\"\r\n\r\nb\r\n--XyZ--",
        "--XyZ\r\nContent-Disposition: form-data; name=a; name=b\r\n\r\nb\r\n--XyZ--",
        "--XyZ\r\nContent-Disposition: form-data; name=a; filename=x; filename=y\r\n\r\nb\r\n--XyZ--",
        "--XyZ\r\nContent-Disposition: form-data; name=\"a\r\n\r\nb\r\n--XyZ--",
        "--XyZ\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n\r\nb\r\n--XyZ--",
        "--XyZ\r\nContent-Disposition: form-data; name=a\r\n folded: x\r\n\r\nb\r\n--XyZ-",
        "--XyZ\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\nYg==\r\n--XyZ--",
        "--XyZ\r\nno colon here\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n--XyZ--",
        "--XyZ--", "--XyZ", "", "--XyZ\r\n",
    ]) func brokenFormsAreRefused(form: String) {
        if form == "--XyZ--" {
            // A form without parts is one.
            #expect(throws: Never.self) { try Self.read(Array(form.utf8)) }
        } else {
            #expect(throws: APIError.self) { try Self.read(Array(form.utf8)) }
        }
    }

    @Test func headersAndPartsAreBounded() {
        let long =
            "--XyZ\r\nContent-Disposition: form-data; name=a; filename=\"\(String(repeating: "n", count: 9_000))\"\r\n\r\nb\r\n--XyZ--"
        #expect(throws: APIError.self) { try Self.read(Array(long.utf8)) }
        let endless = "--XyZ\r\n" + String(repeating: "x: y\r\n", count: 100_000)
        #expect(throws: APIError.self) { try Self.read(Array(endless.utf8)) }
        let part = "--XyZ\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n"
        #expect(throws: Never.self) { try Self.read(Array((String(repeating: part, count: 32) + "--XyZ--").utf8)) }
        #expect(throws: APIError.self) { try Self.read(Array((String(repeating: part, count: 33) + "--XyZ--").utf8)) }
        let bad = Array("--XyZ\r\nContent-Disposition: form-data; name=a; filename=\"".utf8) + [0xFF] + Array("\"\r\n\r\nb\r\n--XyZ--".utf8)
        #expect(throws: APIError.self) { try Self.read(bad) }
    }

    @Test(arguments: [
        (#"filename="a \"b\".txt""#, #"a "b".txt"#), (#"filename="C:\dir\a.txt""#, #"C:\dir\a.txt"#), (#"filename="a%22b""#, #"a"b"#),
        ("filename=plain.txt", "plain.txt"), (#"filename="naïve ☃.txt""#, "naïve ☃.txt"),
        ("filename=\"x\"; filename*=UTF-8''na%C3%AFve.txt", "naïve.txt"), (#"filename="a;b=c.txt""#, "a;b=c.txt"),
    ]) func filenamesAreReadAsClientsWriteThem(written: String, filename: String) throws {
        let form = "--XyZ\r\nContent-Disposition: form-data; name=\"f\"; \(written)\r\n\r\nb\r\n--XyZ--\r\n"
        #expect(try Self.read(Array(form.utf8)).first?.head.filename == filename)
    }

    @Test(arguments: [
        ("multipart/form-data; boundary=abc", "abc"), ("Multipart/Form-Data; Boundary=\"a b\"; charset=x", "a b"),
        ("multipart/form-data;boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW", "----WebKitFormBoundary7MA4YWxkTrZu0gW"),
    ]) func theBoundaryStandsInTheContentType(type: String, boundary: String) throws {
        #expect(try MultipartReader.boundary(of: type) == boundary)
    }

    @Test(arguments: [
        nil, "", "application/json", "multipart/mixed; boundary=a", "multipart/form-data", "multipart/form-data; boundary=",
        "multipart/form-data; boundary=a; boundary=b", "multipart/form-data; boundary=\"a", "multipart/form-data; boundary=\"a\u{7F}\"",
        "multipart/form-data; boundary=\(String(repeating: "a", count: 71))", "multipart/form-data; boundary=\"a \"",
        "multipart/form-data, boundary=a", "multipart/form-data; boundary=é",
    ]) func otherContentTypesAreRefused(type: String?) {
        #expect(throws: APIError.self) { try MultipartReader.boundary(of: type) }
    }
}
