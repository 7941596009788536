import Foundation

/// One commit as a line of the journal, JSON that also holds its own check:
/// `{"crc":"89abcdef","rows":[{"statement":"usage_event","length":123,"row":{…}}]}`. The CRC covers what stands between the brackets; the
/// lengths let rows be read back byte for byte. A row that is no JSON is a string of its bytes in base64.
package enum JournalLine {
    private static let opening = Array("{\"crc\":\"".utf8)
    private static let rowsOpening = Array("\",\"rows\":[".utf8)
    private static let closing = Array("]}".utf8)
    private static let rowOpening = Array("{\"statement\":\"".utf8)
    private static let lengthOpening = Array("\",\"length\":".utf8)
    private static let jsonOpening = Array(",\"row\":".utf8)

    package static func encode(_ commit: Commit) -> [UInt8] {
        var rows: [UInt8] = []
        for row in commit.rows {
            if !rows.isEmpty { rows.append(UInt8(ascii: ",")) }
            rows += rowOpening
            rows += row.statement.name.utf8
            rows += lengthOpening
            let json = json(of: row)
            rows += String(json.count).utf8
            rows += jsonOpening
            rows += json
            rows.append(UInt8(ascii: "}"))
        }
        return opening + CRC32.hexadecimal(rows) + rowsOpening + rows + closing + [UInt8(ascii: "\n")]
    }

    /// nil for a line that is torn or damaged.
    package static func decode(_ line: ArraySlice<UInt8>, statements: [String: CommitStatement]) throws -> Commit? {
        var reader = Reader(rest: line)
        guard reader.skip(opening), let crc = reader.take(8), reader.skip(rowsOpening), line.suffix(2).elementsEqual(closing) else {
            return nil
        }
        let body = reader.rest.dropLast(2)
        guard CRC32.hexadecimal(body).elementsEqual(crc) else { return nil }
        reader.rest = body
        var rows: [CommitRow] = []
        while !reader.rest.isEmpty {
            if !rows.isEmpty { guard reader.skip([UInt8(ascii: ",")]) else { return nil } }
            guard reader.skip(rowOpening), let name = reader.take(until: UInt8(ascii: "\"")), reader.skip(lengthOpening),
                let digits = reader.take(until: UInt8(ascii: ",")), let length = Int(digits), reader.skip(jsonOpening),
                let json = reader.take(length), reader.skip([UInt8(ascii: "}")])
            else { return nil }
            guard let statement = statements[name] else { throw CommitError.malformed("unknown statement \(name)") }
            guard let row = row(of: statement, json: json) else { return nil }
            rows.append(row)
        }
        return Commit(rows: rows)
    }

    private static func json(of row: CommitRow) -> [UInt8] {
        switch row.statement.form {
        case .json: row.bytes
        case .records: [UInt8(ascii: "\"")] + Array(Data(row.bytes).base64EncodedData()) + [UInt8(ascii: "\"")]
        }
    }

    private static func row(of statement: CommitStatement, json: ArraySlice<UInt8>) -> CommitRow? {
        switch statement.form {
        case .json: CommitRow(statement: statement, json: Array(json))
        case .records:
            Data(base64Encoded: Data(json.dropFirst().dropLast())).map { CommitRow(statement: statement, record: Array($0)) }
        }
    }

    private struct Reader {
        var rest: ArraySlice<UInt8>

        mutating func skip(_ text: [UInt8]) -> Bool {
            guard rest.starts(with: text) else { return false }
            rest = rest.dropFirst(text.count)
            return true
        }

        mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
            guard count >= 0, rest.count >= count else { return nil }
            defer { rest = rest.dropFirst(count) }
            return rest.prefix(count)
        }

        /// The text before `end`, which stays.
        mutating func take(until end: UInt8) -> String? {
            guard let index = rest.firstIndex(of: end) else { return nil }
            defer { rest = rest[index...] }
            return String(decoding: rest[..<index], as: UTF8.self)
        }
    }
}

/// The CRC-32 of zlib and Ethernet.
enum CRC32 {
    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
    }

    static func hexadecimal(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        let value = ~bytes.reduce(~UInt32(0)) { $0 >> 8 ^ table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] }
        let digits = Array("0123456789abcdef".utf8)
        return (0..<8).map { digits[Int(value >> (28 - 4 * UInt32($0)) & 15)] }
    }
}
