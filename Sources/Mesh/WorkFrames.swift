import MessagePack

/// The agent has taken a request.
public struct Accept: FrameFields {
    public var queuePosition: Int
    /// Milliseconds.
    public var estimatedTimeToFirstToken: Double?

    public init(queuePosition: Int, estimatedTimeToFirstToken: Double? = nil) {
        self.queuePosition = queuePosition
        self.estimatedTimeToFirstToken = estimatedTimeToFirstToken
    }

    init(_ fields: FieldReader) throws(FrameError) {
        queuePosition = try fields.integer("queue_pos", 0...1_000_000)
        estimatedTimeToFirstToken = try fields.optionalNumber("est_ttft_ms")
    }

    func write(to map: inout MessagePackMap) {
        map.add("queue_pos", queuePosition)
        map.add("est_ttft_ms", estimatedTimeToFirstToken)
    }
}

/// The agent has not taken a request.
public struct Reject: FrameFields {
    public enum Code: String, Sendable, CaseIterable {
        case busy, draining, unsupported
        case notLoaded = "not_loaded"
        case badRequest = "bad_request"
    }

    public var code: Code
    public var fault: Fault
    public var retryMilliseconds: Int

    public init(code: Code, fault: Fault, retryMilliseconds: Int) {
        self.code = code
        self.fault = fault
        self.retryMilliseconds = retryMilliseconds
    }

    init(_ fields: FieldReader) throws(FrameError) {
        code = try fields.choice("code")
        fault = try fields.choice("fault")
        retryMilliseconds = try fields.integer("retry_ms", 0...3_600_000)
    }

    func write(to map: inout MessagePackMap) {
        map.add("code", code.rawValue)
        map.add("fault", fault.rawValue)
        map.add("retry_ms", retryMilliseconds)
    }
}

/// So many more chunks, and bytes, may be sent.
public struct Credit: FrameFields {
    public var chunks: Int
    public var bytes: Int

    public init(chunks: Int, bytes: Int) {
        self.chunks = chunks
        self.bytes = bytes
    }

    init(_ fields: FieldReader) throws(FrameError) {
        chunks = try fields.integer("n", 0...4_096)
        bytes = try fields.integer("bytes", 0...67_108_864)
    }

    func write(to map: inout MessagePackMap) {
        map.add("n", chunks)
        map.add("bytes", bytes)
    }
}

/// Tokens of an answer.
public struct Usage: FrameFields {
    public var promptTokens: Int
    public var completionTokens: Int

    public init(promptTokens: Int, completionTokens: Int) {
        self.promptTokens = promptTokens
        self.completionTokens = completionTokens
    }

    init(_ fields: FieldReader) throws(FrameError) {
        promptTokens = try fields.integer("prompt_tokens")
        completionTokens = try fields.integer("completion_tokens")
    }

    func write(to map: inout MessagePackMap) {
        map.add("prompt_tokens", promptTokens)
        map.add("completion_tokens", completionTokens)
    }
}

/// Where the time of an answer went, in milliseconds.
public struct Timings: FrameFields {
    public var queue: Double
    public var prefill: Double
    public var decode: Double

    public init(queue: Double, prefill: Double, decode: Double) {
        self.queue = queue
        self.prefill = prefill
        self.decode = decode
    }

    init(_ fields: FieldReader) throws(FrameError) {
        queue = try fields.number("queue")
        prefill = try fields.number("prefill")
        decode = try fields.number("decode")
    }

    func write(to map: inout MessagePackMap) {
        map.add("queue", queue)
        map.add("prefill", prefill)
        map.add("decode", decode)
    }
}

/// The answer is complete.
public struct Done: FrameFields {
    public var finishReason: String?
    public var usage: Usage?
    public var timings: Timings?
    public var cachedTokens: Int?
    /// Of an execution.
    public var result: MessagePackValue?

    public init(
        finishReason: String? = nil, usage: Usage? = nil, timings: Timings? = nil, cachedTokens: Int? = nil, result: MessagePackValue? = nil
    ) {
        self.finishReason = finishReason
        self.usage = usage
        self.timings = timings
        self.cachedTokens = cachedTokens
        self.result = result
    }

    init(_ fields: FieldReader) throws(FrameError) {
        finishReason = try fields.optionalText("finish_reason")
        usage = try fields.optionalItem("usage")
        timings = try fields.optionalItem("timings")
        cachedTokens = try fields.optionalInteger("cached_tokens")
        result = fields.optionalValue("result")
    }

    func write(to map: inout MessagePackMap) {
        map.add("finish_reason", finishReason)
        if let usage { map.add("usage", usage) }
        if let timings { map.add("timings", timings) }
        map.add("cached_tokens", cachedTokens)
        if let result { map.append("result", result) }
    }
}

/// The answer failed; `error` on the wire.
public struct Failure: FrameFields {
    public var code: String
    public var fault: Fault
    public var message: String
    public var partialUsage: Usage?

    public init(code: String, fault: Fault, message: String, partialUsage: Usage? = nil) {
        self.code = code
        self.fault = fault
        self.message = message
        self.partialUsage = partialUsage
    }

    init(_ fields: FieldReader) throws(FrameError) {
        code = try fields.text("code")
        fault = try fields.choice("fault")
        message = try fields.text("message", atMost: FieldReader.textLength)
        partialUsage = try fields.optionalItem("partial_usage")
    }

    func write(to map: inout MessagePackMap) {
        map.add("code", code)
        map.add("fault", fault.rawValue)
        map.add("message", message)
        if let partialUsage { map.add("partial_usage", partialUsage) }
    }
}

/// The request is not wanted any more.
public struct Cancel: FrameFields {
    public enum Reason: String, Sendable, CaseIterable { case client, timeout, failover, preempt, shutdown }

    public var reason: Reason
    /// Of an execution.
    public var fence: Int?

    public init(reason: Reason, fence: Int? = nil) {
        self.reason = reason
        self.fence = fence
    }

    init(_ fields: FieldReader) throws(FrameError) {
        reason = try fields.choice("reason")
        fence = try fields.optionalInteger("fence")
    }

    func write(to map: inout MessagePackMap) {
        map.add("reason", reason.rawValue)
        map.add("fence", fence)
    }
}

/// Output of an execution.
public struct Progress: FrameFields {
    public enum Stream: String, Sendable, CaseIterable { case stdout, stderr, status }

    public var stream: Stream
    public var data: [UInt8]
    /// Of this stream so far.
    public var bytes: Int

    public init(stream: Stream, data: [UInt8], bytes: Int) {
        self.stream = stream
        self.data = data
        self.bytes = bytes
    }

    init(_ fields: FieldReader) throws(FrameError) {
        stream = try fields.choice("stream")
        data = try fields.bytes("d", 0...65_536)
        bytes = try fields.integer("bytes")
    }

    func write(to map: inout MessagePackMap) {
        map.add("stream", stream.rawValue)
        map.add("d", data)
        map.add("bytes", bytes)
    }
}

/// Whose fault it is: an agent's faults are tried elsewhere and count against it.
public enum Fault: String, Sendable, CaseIterable { case client, agent }

/// A request for an agent.
public struct Dispatch: FrameFields {
    /// The body and what it is for.
    public enum Work: Sendable, Equatable {
        /// A ready OpenAI request.
        case inference(Task, model: ModelName, body: [UInt8])
        /// An invocation of 09 §2, carried as it is.
        case execution(MessagePackMap)
    }

    public enum Task: String, Sendable, CaseIterable { case chat, completion, embed, rerank, score }

    public struct ModelName: Sendable, Equatable {
        public var id: String
        public var version: String

        public init(id: String, version: String) {
            self.id = id
            self.version = version
        }
    }

    /// Bytes of a body at most.
    public static let bodyLength = 20 << 20

    public var work: Work
    /// Milliseconds from now.
    public var deadline: Int
    public var priority: Int
    /// Chunks that may be sent before the first `credit`.
    public var credit: Int
    public var cacheSalt: String?
    public var prefix: [UInt64]
    public var project: String
    /// For logs of both sides.
    public var trace: String?

    public init(
        work: Work, deadline: Int, priority: Int, credit: Int, cacheSalt: String? = nil, prefix: [UInt64] = [], project: String,
        trace: String? = nil
    ) {
        self.work = work
        self.deadline = deadline
        self.priority = priority
        self.credit = credit
        self.cacheSalt = cacheSalt
        self.prefix = prefix
        self.project = project
        self.trace = trace
    }

    init(_ fields: FieldReader) throws(FrameError) {
        if try fields.text("task") == "exec" {
            work = .execution(try fields.map("body"))
        } else {
            let model = ModelName(id: try fields.text("model_id"), version: try fields.text("version"))
            work = .inference(try fields.choice("task"), model: model, body: try fields.bytes("body", 0...Self.bodyLength))
        }
        deadline = try fields.integer("deadline_ms")
        priority = try fields.integer("priority", -1_000...1_000)
        credit = try fields.integer("credit", 0...1_024)
        cacheSalt = try fields.optionalText("cache_salt")
        prefix = try fields.hashes("prefix")
        project = try fields.text("project")
        trace = try fields.optionalText("trace")
    }

    func write(to map: inout MessagePackMap) {
        switch work {
        case .inference(let task, let model, let body):
            map.add("task", task.rawValue)
            map.add("model_id", model.id)
            map.add("version", model.version)
            map.add("body", body)
        case .execution(let invocation):
            map.add("task", "exec")
            map.add("body", invocation)
        }
        map.add("deadline_ms", deadline)
        map.add("priority", priority)
        map.add("credit", credit)
        map.add("cache_salt", cacheSalt)
        map.add("prefix", prefix)
        map.add("project", project)
        map.add("trace", trace)
    }
}

/// A piece of an answer, which costs one credit.
public struct Chunk: FrameFields {
    /// Bytes of all data at most.
    public static let dataLength = 64 << 10

    public enum Content: Sendable, Equatable {
        /// Chunks of an OpenAI stream, each a whole JSON text.
        case events([[UInt8]])
        /// The next bytes of a whole answer.
        case bytes([UInt8])

        /// Of all its data.
        public var count: Int {
            switch self {
            case .events(let events): events.reduce(0) { $0 + $1.count }
            case .bytes(let bytes): bytes.count
            }
        }
    }

    public var content: Content
    /// Output tokens in it.
    public var tokens: Int
    public var isFinal: Bool

    public init(_ content: Content, tokens: Int, isFinal: Bool = false) {
        self.content = content
        self.tokens = tokens
        self.isFinal = isFinal
    }

    init(_ fields: FieldReader) throws(FrameError) {
        content = try Self.content(fields)
        tokens = try fields.integer("tokens", 0...Self.dataLength)
        isFinal = try fields.optionalFlag("final") ?? false
    }

    private static func content(_ fields: FieldReader) throws(FrameError) -> Content {
        if case .binary(let bytes) = fields.optionalValue("d") {
            guard bytes.count <= dataLength else { throw .invalid(field: "d") }
            return .bytes(bytes)
        }
        var events: [[UInt8]] = []
        var length = 0
        for item in try fields.list("d", atMost: 4_096) {
            guard case .binary(let event) = item else { throw .invalid(field: "d") }
            length += event.count
            events.append(event)
        }
        guard length <= dataLength else { throw .invalid(field: "d") }
        return .events(events)
    }

    func write(to map: inout MessagePackMap) {
        switch content {
        case .events(let events): map.append("d", .array(events.map { .binary($0) }))
        case .bytes(let bytes): map.add("d", bytes)
        }
        map.add("tokens", tokens)
        if isFinal { map.add("final", true) }
    }
}
