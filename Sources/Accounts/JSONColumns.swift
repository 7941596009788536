import Foundation
import Postgres

extension Row {
    /// The value of a `jsonb` column, or nil where it is NULL.
    func json<Value: Decodable>(_ column: String, as type: Value.Type = Value.self) throws -> Value? {
        guard let bytes = try optional(column, as: [UInt8].self) else { return nil }
        do {
            return try JSONDecoder().decode(Value.self, from: Data(bytes))
        } catch let error as DecodingError {
            throw PostgresError.column(column, problem: "is not a \(Value.self): \(error)")
        }
    }
}

/// A value as the text of a `jsonb` parameter; nil = NULL.
func jsonText(_ value: (some Encodable)?) throws -> String? {
    guard let value else { return nil }
    return String(decoding: try JSONEncoder().encode(value), as: UTF8.self)
}
