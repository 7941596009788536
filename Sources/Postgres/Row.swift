import CPostgres

/// A result of libpq; freed with its last row.
final class Result {
    let pointer: OpaquePointer

    /// Takes over the ownership of `pointer`.
    init(_ pointer: OpaquePointer) { self.pointer = pointer }
    deinit { PQclear(pointer) }

    var status: ExecStatusType { PQresultStatus(pointer) }
    var rows: [Row] { (0..<PQntuples(pointer)).map { Row(result: self, index: $0) } }
    /// Such as `COMMIT` or `INSERT 0 1`.
    var command: String { String(cString: PQcmdStatus(pointer)) }

    var serverMessage: ServerMessage {
        ServerMessage(
            sqlState: field("C") ?? "", message: field("M") ?? String(cString: PQresultErrorMessage(pointer)), constraint: field("n"),
            detail: field("D"))
    }

    /// The codes are `PG_DIAG_…` of libpq-fe.h, which Swift does not import.
    private func field(_ code: Unicode.Scalar) -> String? {
        PQresultErrorField(pointer, Int32(code.value)).map { String(cString: $0) }
    }
}

/// One row of a result. It keeps the result alive and belongs to the thread that asked for it.
public struct Row {
    let result: Result
    let index: Int32

    /// The value of a column that is never NULL.
    public func get<Value: SQLDecodable>(_ column: String, as type: Value.Type = Value.self) throws -> Value {
        guard let value = try optional(column, as: type) else { throw PostgresError.column(column, problem: "is NULL") }
        return value
    }

    /// The value of a column, or nil where it is NULL.
    public func optional<Value: SQLDecodable>(_ column: String, as type: Value.Type = Value.self) throws -> Value? {
        guard let text = try text(of: column) else { return nil }
        guard let value = Value(sqlText: text) else { throw PostgresError.column(column, problem: "is not a \(Value.self)") }
        return value
    }

    /// The values of a `text[]` that is never NULL.
    public func texts(_ column: String) throws -> [String] {
        guard let text = try text(of: column) else { throw PostgresError.column(column, problem: "is NULL") }
        guard let values = TextArray.decode(text) else { throw PostgresError.column(column, problem: "is not a text[]") }
        return values
    }

    private func text(of column: String) throws -> UnsafeRawBufferPointer? {
        let number = PQfnumber(result.pointer, column)
        guard number >= 0 else { throw PostgresError.column(column, problem: "is not in the result") }
        guard PQgetisnull(result.pointer, index, number) == 0, let start = PQgetvalue(result.pointer, index, number) else { return nil }
        return UnsafeRawBufferPointer(start: start, count: Int(PQgetlength(result.pointer, index, number)))
    }
}

/// A type that can be read from a column, out of the text form of Postgres.
public protocol SQLDecodable {
    init?(sqlText: UnsafeRawBufferPointer)
}

extension String: SQLDecodable {
    public init?(sqlText: UnsafeRawBufferPointer) { self = String(decoding: sqlText, as: UTF8.self) }
}

extension SQLDecodable where Self: FixedWidthInteger {
    public init?(sqlText: UnsafeRawBufferPointer) { self.init(String(decoding: sqlText, as: UTF8.self), radix: 10) }
}
extension Int: SQLDecodable {}
extension Int64: SQLDecodable {}

extension Double: SQLDecodable {
    public init?(sqlText: UnsafeRawBufferPointer) { self.init(String(decoding: sqlText, as: UTF8.self)) }
}

extension Bool: SQLDecodable {
    public init?(sqlText: UnsafeRawBufferPointer) {
        switch sqlText.first {
        case UInt8(ascii: "t"): self = true
        case UInt8(ascii: "f"): self = false
        default: return nil
        }
    }
}

/// A `bytea` in its hexadecimal form (`bytea_output = hex`, the default), or the bytes of a text or JSON column.
extension [UInt8]: SQLDecodable {
    public init?(sqlText: UnsafeRawBufferPointer) {
        guard sqlText.starts(with: Array("\\x".utf8)) else {
            self = Array(sqlText)
            return
        }
        guard sqlText.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(sqlText.count / 2 - 1)
        for index in stride(from: 2, to: sqlText.count, by: 2) {
            guard let high = hexDigit(sqlText[index]), let low = hexDigit(sqlText[index + 1]) else { return nil }
            bytes.append(high << 4 | low)
        }
        self = bytes
    }
}

private func hexDigit(_ character: UInt8) -> UInt8? {
    switch character {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
    default: nil
    }
}
