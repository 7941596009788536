import MessagePack

/// Reads the fields of one map, strictly. Fields that nobody asks for are ignored, as newer peers may send more (05 §12).
struct FieldReader {
    /// Names of things: ids, versions, reasons.
    static let nameLength = 256
    /// Texts for people, tokens, addresses.
    static let textLength = 8_192
    static let listLength = 16_384

    private let map: MessagePackMap

    init(_ map: MessagePackMap) { self.map = map }

    private func value(_ field: String) throws(FrameError) -> MessagePackValue {
        guard let value = optional(field) else { throw .missing(field: field) }
        return value
    }

    /// null is the same as not there.
    private func optional(_ field: String) -> MessagePackValue? {
        let value = map[field]
        return value == .null ? nil : value
    }

    func has(_ field: String) -> Bool { optional(field) != nil }

    func integer(_ field: String, _ range: ClosedRange<Int> = 0...Int.max) throws(FrameError) -> Int {
        guard case .integer(let number) = try value(field), range.contains(Int(number)) else { throw .invalid(field: field) }
        return Int(number)
    }

    func optionalInteger(_ field: String, _ range: ClosedRange<Int> = 0...Int.max) throws(FrameError) -> Int? {
        has(field) ? try integer(field, range) : nil
    }

    /// A finite number; whole ones may be written as integers.
    func number(_ field: String, _ range: ClosedRange<Double> = 0...1e15) throws(FrameError) -> Double {
        let number: Double
        switch try value(field) {
        case .double(let value): number = value
        case .integer(let value): number = Double(value)
        default: throw .invalid(field: field)
        }
        guard range.contains(number) else { throw .invalid(field: field) }
        return number
    }

    func optionalNumber(_ field: String, _ range: ClosedRange<Double> = 0...1e15) throws(FrameError) -> Double? {
        has(field) ? try number(field, range) : nil
    }

    func flag(_ field: String) throws(FrameError) -> Bool {
        guard case .bool(let flag) = try value(field) else { throw .invalid(field: field) }
        return flag
    }

    func optionalFlag(_ field: String) throws(FrameError) -> Bool? { has(field) ? try flag(field) : nil }

    /// Without NUL, which Postgres does not store; in names there are no control characters at all.
    func text(_ field: String, atMost length: Int = nameLength) throws(FrameError) -> String {
        guard case .string(let text) = try value(field), Self.isText(text, atMost: length) else { throw .invalid(field: field) }
        return text
    }

    private static func isText(_ text: String, atMost length: Int) -> Bool {
        text.utf8.count <= length && text.utf8.allSatisfy { length <= nameLength ? $0 >= 0x20 && $0 != 0x7f : $0 != 0 }
    }

    func optionalText(_ field: String, atMost length: Int = nameLength) throws(FrameError) -> String? {
        has(field) ? try text(field, atMost: length) : nil
    }

    func bytes(_ field: String, _ length: ClosedRange<Int>) throws(FrameError) -> [UInt8] {
        guard case .binary(let bytes) = try value(field), length.contains(bytes.count) else { throw .invalid(field: field) }
        return bytes
    }

    func choice<Choice: RawRepresentable<String>>(_ field: String) throws(FrameError) -> Choice {
        guard let choice = Choice(rawValue: try text(field)) else { throw .invalid(field: field) }
        return choice
    }

    func list(_ field: String, atMost count: Int = listLength) throws(FrameError) -> [MessagePackValue] {
        guard case .array(let items) = try value(field), items.count <= count else { throw .invalid(field: field) }
        return items
    }

    func ids(_ field: String) throws(FrameError) -> [String] {
        var ids: [String] = []
        for item in try list(field) {
            guard case .string(let id) = item, !id.isEmpty, Self.isText(id, atMost: Self.nameLength) else { throw .invalid(field: field) }
            ids.append(id)
        }
        return ids
    }

    /// Finite and not negative.
    func numbers(_ field: String) throws(FrameError) -> [Double] {
        var numbers: [Double] = []
        for item in try list(field) {
            guard case .double(let number) = item, 0...1e15 ~= number else { throw .invalid(field: field) }
            numbers.append(number)
        }
        return numbers
    }

    func hashes(_ field: String) throws(FrameError) -> [UInt64] {
        var hashes: [UInt64] = []
        for item in try list(field) {
            switch item {
            case .integer(let number) where number >= 0: hashes.append(UInt64(number))
            case .large(let number): hashes.append(number)
            default: throw .invalid(field: field)
            }
        }
        return hashes
    }

    func map(_ field: String) throws(FrameError) -> MessagePackMap {
        guard case .map(let map) = try value(field) else { throw .invalid(field: field) }
        return map
    }

    func optionalMap(_ field: String) throws(FrameError) -> MessagePackMap? { has(field) ? try map(field) : nil }

    func optionalValue(_ field: String) -> MessagePackValue? { optional(field) }

    func item<Item: FrameFields>(_ field: String) throws(FrameError) -> Item { try Item(FieldReader(map(field))) }

    func optionalItem<Item: FrameFields>(_ field: String) throws(FrameError) -> Item? { has(field) ? try item(field) : nil }

    func items<Item: FrameFields>(_ field: String, atMost count: Int = 1_024) throws(FrameError) -> [Item] {
        var items: [Item] = []
        for value in try list(field, atMost: count) {
            guard case .map(let map) = value else { throw .invalid(field: field) }
            items.append(try Item(FieldReader(map)))
        }
        return items
    }
}

/// What is a map on the wire.
protocol FrameFields: Sendable, Equatable {
    init(_ fields: FieldReader) throws(FrameError)
    func write(to map: inout MessagePackMap)
}

extension FrameFields {
    var value: MessagePackValue {
        var map = MessagePackMap()
        write(to: &map)
        return .map(map)
    }
}

extension MessagePackMap {
    mutating func add(_ field: String, _ number: Int) { append(field, .integer(Int64(number))) }
    mutating func add(_ field: String, _ number: Double) { append(field, .double(number)) }
    mutating func add(_ field: String, _ text: String) { append(field, .string(text)) }
    mutating func add(_ field: String, _ flag: Bool) { append(field, .bool(flag)) }
    mutating func add(_ field: String, _ bytes: [UInt8]) { append(field, .binary(bytes)) }
    mutating func add(_ field: String, _ ids: [String]) { append(field, .array(ids.map { .string($0) })) }
    mutating func add(_ field: String, _ numbers: [Double]) { append(field, .array(numbers.map { .double($0) })) }
    mutating func add(_ field: String, _ hashes: [UInt64]) { append(field, .array(hashes.map { MessagePackValue($0) })) }
    mutating func add(_ field: String, _ items: [some FrameFields]) { append(field, .array(items.map(\.value))) }
    mutating func add(_ field: String, _ item: some FrameFields) { append(field, item.value) }
    mutating func add(_ field: String, _ map: MessagePackMap) { append(field, .map(map)) }

    mutating func add(_ field: String, _ number: Int?) { if let number { add(field, number) } }
    mutating func add(_ field: String, _ number: Double?) { if let number { add(field, number) } }
    mutating func add(_ field: String, _ text: String?) { if let text { add(field, text) } }
    mutating func add(_ field: String, _ flag: Bool?) { if let flag { add(field, flag) } }
}
