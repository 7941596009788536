import Foundation

/// Reads the little XML that stores write: lists of keys, and errors. Elements of one name do not nest there.
enum StoreXML {
    /// What stands in each element of that name, with escapes.
    static func elements(_ name: String, in text: Substring) -> [Substring] {
        var found: [Substring] = []
        var rest = text
        while let open = rest.range(of: "<\(name)>"), let close = rest[open.upperBound...].range(of: "</\(name)>") {
            found.append(rest[open.upperBound..<close.lowerBound])
            rest = rest[close.upperBound...]
        }
        return found
    }

    static func text(_ name: String, in text: Substring) -> String? { elements(name, in: text).first.map(unescape) }

    /// A page of `ListObjects`; nil = it is none.
    static func listing(_ bytes: [UInt8]) -> StoredObjects? {
        let document = Substring(decoding: bytes, as: UTF8.self)
        guard document.contains("<ListBucketResult"), let truncated = text("IsTruncated", in: document) else { return nil }
        var objects: [StoredObject] = []
        for entry in elements("Contents", in: document) {
            guard let key = text("Key", in: entry), let bytes = text("Size", in: entry).flatMap({ Int($0) }),
                let time = text("LastModified", in: entry).flatMap(seconds)
            else { return nil }
            objects.append(StoredObject(key: key, bytes: bytes, modifiedAt: time))
        }
        return StoredObjects(objects: objects, hasMore: truncated == "true")
    }

    /// The `Code` of an error.
    static func errorCode(_ bytes: [UInt8]) -> String? { text("Code", in: Substring(decoding: bytes, as: UTF8.self)) }

    /// `2026-11-26T04:00:00.000Z`, or without the fraction.
    private static func seconds(_ text: String) -> Int? {
        let parsed =
            (try? Date(text, strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: true)))
            ?? (try? Date(text, strategy: Date.ISO8601FormatStyle()))
        return parsed.map { Int($0.timeIntervalSince1970) }
    }

    private static func unescape(_ text: Substring) -> String {
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")]
            .reduce(String(text)) { $0.replacingOccurrences(of: $1.0, with: $1.1) }
    }
}
