import JSON
import Server

/// A value as usage answers show it.
enum UsageValue {
    case text(String?)
    case integer(Int?)
    case bool(Bool)
    /// Nano-USD; shown as dollars with nine decimals.
    case dollars(Int64)
}

/// One member or cell of what is shown of an item.
struct UsageColumn<Item>: Sendable {
    var name: String
    var value: @Sendable (Item) -> UsageValue

    init(_ name: String, _ value: @escaping @Sendable (Item) -> UsageValue) {
        self.name = name
        self.value = value
    }
}

/// What is shown of an item, once for JSON and CSV: members and cells have the same names, order and values.
struct UsageTable<Item>: Sendable {
    /// The member `object`, which tells JSON clients what they have; no column.
    var object: String
    var columns: [UsageColumn<Item>]

    func json(_ item: Item) -> [UInt8] {
        var json = JSONWriter(capacity: 1_024)
        json.raw(#"{"object":"#)
        json.string(object)
        for column in columns {
            json.raw(",\"\(column.name)\":")
            switch column.value(item) {
            case .text(let text): json.string(text)
            case .integer(let integer): if let integer { json.integer(integer) } else { json.raw("null" as StaticString) }
            case .bool(let bool): json.bool(bool)
            case .dollars(let nano): json.string(NanoUSD.fixed(nano))
            }
        }
        json.raw("}" as StaticString)
        return json.bytes
    }

    func csv(_ items: [Item]) -> CSV {
        var csv = CSV(names: columns.map(\.name))
        for item in items {
            csv.line(
                columns.map { column in
                    switch column.value(item) {
                    case .text(let text): text ?? ""
                    case .integer(let integer): integer.map(String.init) ?? ""
                    case .bool(let bool): bool ? "true" : "false"
                    case .dollars(let nano): NanoUSD.fixed(nano)
                    }
                })
        }
        return csv
    }
}
