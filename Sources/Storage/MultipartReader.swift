import Foundation
import OpenAI

/// The first lines of a part of a form.
public struct FormPart: Sendable, Equatable {
    public var name: String
    /// As it came, perhaps with a path; nil = the part is a plain field.
    public var filename: String?
    public var contentType: String?

    public init(name: String, filename: String? = nil, contentType: String? = nil) {
        self.name = name
        self.filename = filename
        self.contentType = contentType
    }
}

/// Takes a `multipart/form-data` body (RFC 7578) apart as it comes: it holds 128 KiB of it, whatever the size. It reads strictly: what could be
/// understood in two ways, such as a preamble or a boundary with something behind it, is refused.
public final class MultipartReader {
    public enum Event {
        case part(FormPart)
        /// Bytes of the part, valid until the next call.
        case bytes(UnsafeRawBufferPointer)
        case endOfPart
        /// The form is complete, and the body has been read to its end.
        case end
    }

    private enum State { case start, afterDelimiter, headers, bytes, over }

    private static let largestHead = 8 << 10
    private static let mostParts = 32
    private static let emptyLine = Array("\r\n\r\n".utf8)

    /// The line end before it belongs to it.
    private let delimiter: [UInt8]
    private let fill: (UnsafeMutableRawBufferPointer) throws -> Int
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 128 << 10, alignment: 16)
    /// What is read and not yet given on.
    private var unread = 0..<0
    private var hasEnded = false
    private var state = State.start
    private var parts = 0

    /// - Parameter fill: puts more of the body into the buffer and says how much; 0 = the body has ended.
    public init(boundary: String, fill: @escaping (UnsafeMutableRawBufferPointer) throws -> Int) {
        delimiter = Array("\r\n--\(boundary)".utf8)
        self.fill = fill
    }

    deinit { buffer.deallocate() }

    /// - Throws: `APIError` 400 where the form is broken, and what `fill` throws.
    public func next() throws -> Event {
        while true {
            switch state {
            case .start:
                let first = delimiter.dropFirst(2)
                guard try has(first.count), bytes.starts(with: first) else {
                    throw Self.broken("does not begin with its boundary")
                }
                take(first.count)
                state = .afterDelimiter
            case .afterDelimiter:
                guard try has(2) else { throw Self.broken("ends in the middle") }
                let two = [bytes[0], bytes[1]]
                take(2)
                if two == Array("--".utf8) {
                    try readEpilogue()
                    state = .over
                    return .end
                }
                guard two == Array("\r\n".utf8) else { throw Self.broken("has something behind a boundary") }
                parts += 1
                guard parts <= Self.mostParts else { throw Self.broken("has more than \(Self.mostParts) parts") }
                state = .headers
            case .headers:
                let head = try takeHead()
                state = .bytes
                return .part(try FormPart(head: head))
            case .bytes:
                if let piece = try nextPiece() { return .bytes(piece) }
                return .endOfPart
            case .over: return .end
            }
        }
    }

    /// nil = the delimiter stood there, and is taken.
    private func nextPiece() throws -> UnsafeRawBufferPointer? {
        while true {
            let bytes = bytes
            if let length = Self.position(of: delimiter, in: bytes) {
                if length > 0 {
                    take(length)
                    return UnsafeRawBufferPointer(rebasing: bytes[..<length])
                }
                take(delimiter.count)
                state = .afterDelimiter
                return nil
            }
            // The end of what is there may be the beginning of a delimiter.
            let sure = bytes.count - (delimiter.count - 1)
            if sure > 0 {
                take(sure)
                return UnsafeRawBufferPointer(rebasing: bytes[..<sure])
            }
            guard try readMore() else { throw Self.broken("ends in the middle") }
        }
    }

    /// The lines before the bytes, without the empty one at their end.
    private func takeHead() throws -> [UInt8] {
        while true {
            if let length = Self.position(of: Self.emptyLine, in: bytes) {
                guard length <= Self.largestHead else { break }
                let head = Array(bytes[..<length])
                // Of an empty part the boundary's own line end follows.
                take(length + 4)
                return head
            }
            guard bytes.count <= Self.largestHead else { break }
            guard try readMore() else { throw Self.broken("ends in the middle") }
        }
        throw Self.broken("has a part with more than \(Self.largestHead) bytes of headers")
    }

    /// Nothing but a line end may stand behind the last boundary.
    private func readEpilogue() throws {
        while try readMore() { guard bytes.count <= 2 else { break } }
        guard bytes.isEmpty || bytes.elementsEqual("\r\n".utf8) else { throw Self.broken("has something behind its last boundary") }
        unread = 0..<0
    }

    private static func position(of text: [UInt8], in bytes: UnsafeRawBufferPointer) -> Int? {
        guard let start = bytes.baseAddress else { return nil }
        var place = 0
        while place + text.count <= bytes.count {
            // memchr looks at many bytes at once, and line ends are rare.
            guard let found = memchr(start + place, Int32(text[0]), bytes.count - place - text.count + 1) else { return nil }
            place = start.distance(to: UnsafeRawPointer(found))
            if memcmp(found, text, text.count) == 0 { return place }
            place += 1
        }
        return nil
    }

    private var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: buffer[unread]) }

    private func take(_ count: Int) { unread = unread.lowerBound + count..<unread.upperBound }

    private func has(_ count: Int) throws -> Bool {
        while unread.count < count { guard try readMore() else { return false } }
        return true
    }

    /// False = the body has ended.
    private func readMore() throws -> Bool {
        guard !hasEnded else { return false }
        if unread.lowerBound > 0 {
            memmove(buffer.baseAddress!, buffer.baseAddress! + unread.lowerBound, unread.count)
            unread = 0..<unread.count
        }
        let count = try fill(UnsafeMutableRawBufferPointer(rebasing: buffer[unread.upperBound...]))
        hasEnded = count == 0
        unread = 0..<unread.upperBound + count
        return !hasEnded
    }

    static func broken(_ how: String) -> APIError { APIError(.invalidRequest, "The multipart body \(how).") }
}

extension MultipartReader {
    /// The boundary that a Content-Type names (RFC 2046 §5.1.1).
    /// - Throws: `APIError` 415 where it is no form, 400 where the boundary is missing or none.
    public static func boundary(of contentType: String?) throws -> String {
        guard let contentType, let value = HeaderValue(contentType), value.value.lowercased() == "multipart/form-data" else {
            throw APIError(.unsupportedMediaType, "The Content-Type must be multipart/form-data.")
        }
        let named = value.parameters.filter { $0.name == "boundary" }.map(\.value)
        let isAllowed = { (byte: UInt8) in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
            default: "'()+_,-./:=? ".utf8.contains(byte)
            }
        }
        guard named.count == 1, let boundary = named.first, (1...70).contains(boundary.utf8.count), boundary.utf8.allSatisfy(isAllowed),
            boundary.last != " "
        else { throw APIError(.invalidRequest, "The Content-Type must name one boundary of 1 to 70 characters.") }
        return boundary
    }
}

extension FormPart {
    /// - Parameter head: header lines without the empty one.
    init(head: [UInt8]) throws {
        guard let text = String(validating: head, as: UTF8.self) else {
            throw APIError(.invalidRequest, "A part's headers are not valid UTF-8.")
        }
        var headers: [String: String] = [:]
        for line in text.split(separator: "\r\n", omittingEmptySubsequences: false) {
            guard let colon = line.utf8.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex,
                line.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F || $0 == "\t" })
            else { throw MultipartReader.broken("has a part with a bad header line") }
            let name = line[..<colon].lowercased()
            let value = line[line.utf8.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            guard headers.updateValue(String(value), forKey: name) == nil else {
                throw MultipartReader.broken("has a part with two headers '\(name.prefix(64))'")
            }
        }
        guard let disposition = headers["content-disposition"].flatMap(HeaderValue.init), disposition.value.lowercased() == "form-data"
        else { throw MultipartReader.broken("has a part without 'Content-Disposition: form-data'") }
        guard ["binary", "7bit", "8bit"].contains((headers["content-transfer-encoding"] ?? "binary").lowercased()) else {
            throw MultipartReader.broken("has a part in an encoding that forms do not have")
        }
        let names = disposition.parameters.map(\.name)
        guard Set(names).count == names.count, let name = disposition["name"], !name.isEmpty else {
            throw MultipartReader.broken("has a part without a name, or with two")
        }
        // Browsers write these three so, and leave all else as it is.
        let plain = disposition["filename"].map {
            $0.replacing("%22", with: "\"").replacing("%0D", with: "\r").replacing("%0A", with: "\n")
        }
        self.init(name: name, filename: try disposition["filename*"].map(Self.extended) ?? plain, contentType: headers["content-type"])
    }

    /// `UTF-8''na%C3%AFve.txt` (RFC 8187).
    private static func extended(_ value: String) throws -> String {
        let parts = value.split(separator: "'", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0].lowercased() == "utf-8", let decoded = parts[2].removingPercentEncoding else {
            throw MultipartReader.broken("has a part whose 'filename*' is not in UTF-8")
        }
        return decoded
    }
}

/// `value; name=text; name="quoted text"`
struct HeaderValue {
    var value: String
    /// Names in lower case.
    var parameters: [(name: String, value: String)] = []

    subscript(name: String) -> String? { parameters.first { $0.name == name }?.value }

    /// nil = it has another form.
    init?(_ text: String) {
        var rest = text.unicodeScalars[...]
        func skipSpaces() { rest = rest.drop { $0 == " " || $0 == "\t" } }
        skipSpaces()
        value = String(rest.prefix { $0 != ";" && $0 != " " })
        rest = rest.dropFirst(value.unicodeScalars.count)
        while true {
            skipSpaces()
            guard let semicolon = rest.first else { break }
            guard semicolon == ";" else { return nil }
            rest = rest.dropFirst()
            skipSpaces()
            if rest.isEmpty { break }
            let name = String(rest.prefix { $0 != "=" && $0 != ";" && $0 != " " })
            rest = rest.dropFirst(name.unicodeScalars.count)
            guard !name.isEmpty, rest.first == "=" else { return nil }
            rest = rest.dropFirst()
            var found = String.UnicodeScalarView()
            if rest.first == "\"" {
                rest = rest.dropFirst()
                var isClosed = false
                while !isClosed {
                    guard let scalar = rest.popFirst() else { return nil }
                    if scalar == "\"" {
                        isClosed = true
                    } else if scalar == "\\", let next = rest.first, next == "\"" || next == "\\" {
                        // Only what must be escaped is: a backslash before anything else is one of a path.
                        found.append(next)
                        rest = rest.dropFirst()
                    } else {
                        found.append(scalar)
                    }
                }
            } else {
                found.append(contentsOf: rest.prefix { $0 != ";" && $0 != " " && $0 != "\t" })
                rest = rest.dropFirst(found.count)
            }
            parameters.append((name.lowercased(), String(found)))
        }
    }
}
