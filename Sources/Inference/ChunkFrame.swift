import JSON

/// What is the same in all chunks of one stream. Its head is written once, when the engine has told its fingerprint.
struct ChunkFrame {
    /// `data: {"id":…,"choices":[`
    private var head: [UInt8] = []
    /// `]}` or `],"usage":null}`
    private let end: StaticString
    private let includesUsage: Bool

    init(includesUsage: Bool) {
        self.includesUsage = includesUsage
        end = includesUsage ? "],\"usage\":null}\n\n" : "]}\n\n"
    }

    var hasBegun: Bool { !head.isEmpty }

    /// - Parameter showsServiceTier: chunks of older surfaces have none.
    mutating func begin(_ identity: AnswerIdentity, object: StaticString, showsServiceTier: Bool = true) {
        var json = JSONWriter(capacity: 256)
        json.raw("data: {" as StaticString)
        identity.write(object: object, showsServiceTier: showsServiceTier, to: &json)
        json.raw(#","choices":["#)
        head = json.bytes
    }

    /// Begins a chunk with one choice, to which the caller adds what is said, with a comma before each member.
    func open(_ index: Int, _ json: inout JSONWriter) {
        json.raw(head)
        json.raw(#"{"index":"#)
        json.integer(index)
    }

    func close(_ finishReason: String?, _ json: inout JSONWriter) {
        json.raw(#","finish_reason":"#)
        json.string(finishReason)
        json.raw("}" as StaticString)
        json.raw(end)
    }

    /// The usage chunk, for clients that asked for it.
    func usageChunk(_ usage: TokenUsage) -> [UInt8] {
        guard includesUsage else { return [] }
        var json = JSONWriter(capacity: 512)
        json.raw(head)
        json.raw(#"],"usage":"#)
        usage.write(to: &json)
        json.raw("}\n\n" as StaticString)
        return json.bytes
    }
}
