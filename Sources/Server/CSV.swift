import OpenAI

/// Comma-separated values (RFC 4180), for spreadsheets.
public struct CSV {
    public private(set) var bytes: [UInt8] = []

    /// Begins with the line of names.
    public init(names: [String]) { line(names) }

    public mutating func line(_ cells: [String]) {
        for (index, cell) in cells.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            append(Self.guarded(cell))
        }
        bytes.append(contentsOf: "\r\n".utf8)
    }

    /// A spreadsheet would run a cell that begins so as a formula; with an apostrophe before it, it is a text:
    /// owasp.org/www-community/attacks/CSV_Injection
    private static func guarded(_ cell: String) -> String {
        switch cell.utf8.first {
        case UInt8(ascii: "="), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "@"), 0x09, 0x0D: "'" + cell
        default: cell
        }
    }

    private mutating func append(_ cell: String) {
        let needsQuotes = cell.utf8.contains { $0 == UInt8(ascii: ",") || $0 == UInt8(ascii: "\"") || $0 == 0x0A || $0 == 0x0D }
        guard needsQuotes else { return bytes.append(contentsOf: cell.utf8) }
        bytes.append(UInt8(ascii: "\""))
        for byte in cell.utf8 {
            if byte == UInt8(ascii: "\"") { bytes.append(byte) }
            bytes.append(byte)
        }
        bytes.append(UInt8(ascii: "\""))
    }
}

extension Request {
    /// Whether the answer is wanted as CSV: `?format=csv`, else the `Accept` header, where JSON wins a draw.
    public func wantsCSV() throws -> Bool {
        switch query["format"] {
        case "csv": return true
        case "json": return false
        case nil: break
        default: throw APIError.invalid("format", "'format' must be 'json' or 'csv'.")
        }
        let accepted = (header("HTTP_ACCEPT") ?? "").split(separator: ",").map(Self.preference)
        func weight(_ types: Set<String>) -> Double { accepted.filter { types.contains($0.type) }.map(\.weight).max() ?? 0 }
        return weight(["text/csv"]) > weight(["application/json", "application/*", "*/*"])
    }

    /// `text/csv;q=0.5` as its type and weight (RFC 9110 §12.5.1).
    private static func preference(_ range: Substring) -> (type: String, weight: Double) {
        let parts = range.split(separator: ";").map { $0.filter { $0 != " " }.lowercased() }
        let weight = parts.dropFirst().first { $0.hasPrefix("q=") }.flatMap { Double($0.dropFirst(2)) }
        return (parts.first ?? "", weight ?? 1)
    }
}

extension Response {
    /// - Parameters:
    ///   - name: of the file, for browsers.
    ///   - hasMore: whether further lines follow after the last one, as `has_more` of a list.
    public static func csv(_ csv: CSV, name: String, hasMore: Bool) -> Response {
        Response(
            headers: [
                ("Content-Type", "text/csv; charset=utf-8; header=present"),
                ("Content-Disposition", "attachment; filename=\"\(name).csv\""), ("X-Has-More", hasMore ? "true" : "false"),
            ], body: .bytes(csv.bytes))
    }
}
