import OpenAI

/// The header `Range` of a request for bytes (RFC 9110 §14).
public enum ByteRange {
    /// The one range that is asked for. Other units, several ranges and what cannot be read are ignored, as the RFC wants it: nil = all of it.
    /// - Throws: `APIError` 416 where it begins behind the end.
    public static func parse(_ header: String?, of length: Int) throws -> Range<Int>? {
        guard let header, let equals = header.firstIndex(of: "="), header[..<equals].lowercased() == "bytes" else { return nil }
        let ends = header[header.index(after: equals)...].split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2 else { return nil }
        let isNumber = { (text: Substring) in !text.isEmpty && text.utf8.allSatisfy { (48...57).contains($0) } }
        // A number beyond all files is one.
        let number = { (text: Substring) in Int(text) ?? .max }
        switch (isNumber(ends[0]), isNumber(ends[1])) {
        case (true, true):
            let (first, last) = (number(ends[0]), number(ends[1]))
            guard first <= last else { return nil }
            guard first < length else { throw unsatisfiable(length) }
            return first..<min(last, length - 1) + 1
        case (true, false) where ends[1].isEmpty:
            let first = number(ends[0])
            guard first < length else { throw unsatisfiable(length) }
            return first..<length
        case (false, true) where ends[0].isEmpty:
            let count = number(ends[1])
            guard count > 0 else { throw unsatisfiable(length) }
            return max(0, length - count)..<length
        default: return nil
        }
    }

    private static func unsatisfiable(_ length: Int) -> APIError {
        var error = APIError(.rangeNotSatisfiable, "The range begins behind the end of the file.")
        error.headers = [("Content-Range", "bytes */\(length)")]
        return error
    }
}
