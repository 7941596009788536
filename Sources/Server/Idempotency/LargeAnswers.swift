import OpenAI

/// Keeps answers that are too large for a row (04 §9), sealed, for at least as long as idempotency keys are kept. `Storage` implements it.
public protocol LargeAnswers: Sendable {
    /// - Parameter request: whose answer it is; it finds the answer again.
    func keep(_ answer: [UInt8], of request: String, for project: ID<Project>) throws
    func answer(of request: String, for project: ID<Project>) throws -> [UInt8]
}

/// What stands in a key's row instead of a large answer: a NUL, with which no answer begins, and the request.
enum LargeAnswerReference {
    /// Larger ones are not in rows.
    static let largestInRow = 1 << 20

    static func encode(_ request: String) -> [UInt8] { [0] + Array(request.utf8) }

    /// nil = it is the answer itself.
    static func decode(_ bytes: [UInt8]) -> String? { bytes.first == 0 ? String(decoding: bytes.dropFirst(), as: UTF8.self) : nil }
}
