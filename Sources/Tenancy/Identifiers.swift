import OpenAI
import Postgres

extension ID: SQLBindable {
    public var sqlValue: SQLValue { .text(description) }
}

extension ID: SQLDecodable {
    public init?(sqlText: UnsafeRawBufferPointer) { self.init(String(decoding: sqlText, as: UTF8.self)) }
}
