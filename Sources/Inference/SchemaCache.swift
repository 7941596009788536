import JSON
import JSONSchema
import Threads

/// Schemas that were compiled lately, by their text: clients send the same with every request, and compiling takes longer than checking an answer.
///
/// In two generations: the newer takes what is asked for, and becomes the older when it is full.
package final class SchemaCache: Sendable {
    private struct Key: Hashable {
        var text: [UInt8]
        var isStrict: Bool
    }

    private struct Kept {
        var newer: [Key: JSONSchema] = [:]
        var older: [Key: JSONSchema] = [:]
        /// Of the newer ones.
        var bytes = 0
    }

    private let kept = Lock(Kept())
    private let bytesOfGeneration: Int

    package init(bytesOfGeneration: Int = 256 << 10) { self.bytesOfGeneration = bytesOfGeneration }

    /// - Throws: what `compile` throws; nothing is kept then.
    func schema(_ element: JSONElement, isStrict: Bool, _ compile: () throws -> JSONSchema) throws -> JSONSchema {
        let key = Key(text: Array(element.text), isStrict: isStrict)
        if let known = kept.withLock({ kept in kept.newer[key] ?? kept.older[key].map { keep($0, key, &kept) } }) { return known }
        let made = try compile()
        return kept.withLock { keep(made, key, &$0) }
    }

    private func keep(_ schema: JSONSchema, _ key: Key, _ kept: inout Kept) -> JSONSchema {
        if kept.bytes >= bytesOfGeneration { kept = Kept(older: kept.newer) }
        if kept.newer.updateValue(schema, forKey: key) == nil { kept.bytes += key.text.count }
        return schema
    }

    /// How many schemas are kept.
    package var count: Int { kept.withLock { $0.newer.count + $0.older.count } }
}
