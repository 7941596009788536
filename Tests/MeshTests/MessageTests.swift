import Mesh
import MeshSamples
import MessagePack
import Testing
import ZeroMQ

@Suite struct MessageTests {
    private static func message(_ frame: Frame) -> Message { Message(id: "req_1", attempt: 1, sequence: 4, time: 1_764_000_000_000, frame) }

    /// The message as its parts say, with the map changed.
    private static func changed(_ sample: Sample, _ change: (inout MessagePackMap) -> Void) throws -> ArraySlice<ZeroMQPart> {
        var parts = message(sample.frame).parts
        guard case .map(var map) = try MessagePackReader.read(parts[2].bytes) else { throw FrameError.malformedBody }
        change(&map)
        parts[2] = ZeroMQPart(MessagePackWriter.bytes(of: .map(map)))
        return parts[...]
    }

    private static func fields(_ sample: Sample) throws -> [String] {
        var keys: [String] = []
        _ = try changed(sample) { keys = $0.members.map(\.key) }
        return keys
    }

    @Test func everyKindOfTheSpecificationHasASample() {
        #expect(Set(Sample.all.map(\.frame.kind)) == Set(Frame.Kind.allCases))
        // 23 of the specification, and six between gateway and router.
        #expect(Frame.Kind.allCases.count == 29)
    }

    @Test(arguments: Sample.all)
    func aFrameIsReadAsItWasWritten(sample: Sample) throws {
        let message = Self.message(sample.frame)
        #expect(message.parts.count == 3)
        #expect(message.parts[0].bytes == Array(sample.frame.kind.rawValue.utf8))
        #expect(message.parts[1].bytes == Array("req_1".utf8))
        #expect(try Message.read(message.parts[...], from: sample.sender) == message)
    }

    @Test(arguments: Sample.all)
    func theMapHasExactlyTheFieldsOfTheSpecification(sample: Sample) throws {
        #expect(Set(try Self.fields(sample)) == Set(["v", "a", "s", "t"] + sample.required + sample.optional))
    }

    @Test(arguments: Sample.all)
    func aMissingFieldIsNamedUnlessItMayBeMissing(sample: Sample) throws {
        for field in ["v", "a", "s", "t"] + sample.required {
            for change in [{ $0[field] = nil }, { $0[field] = .null }] as [(inout MessagePackMap) -> Void] {
                let parts = try Self.changed(sample, change)
                #expect(throws: FrameError.missing(field: field)) { try Message.read(parts, from: sample.sender) }
            }
        }
        for field in sample.optional {
            let parts = try Self.changed(sample) { $0[field] = nil }
            #expect(try Message.read(parts, from: sample.sender) != nil)
        }
    }

    @Test(arguments: Sample.all)
    func aFieldOfAnotherTypeIsNamed(sample: Sample) throws {
        for field in try Self.fields(sample) where field != "result" {
            for wrong in [.bool(true), .double(.nan), .string(String(repeating: "x", count: 10_000)), .array([.bool(true)])]
                as [MessagePackValue]
            {
                let parts = try Self.changed(sample) {
                    if case .bool = $0[field]! { $0[field] = .integer(1) } else { $0[field] = wrong }
                }
                #expect(throws: FrameError.invalid(field: field), "\(wrong)") { try Message.read(parts, from: sample.sender) }
            }
        }
    }

    @Test(arguments: Sample.all)
    func fieldsThatAreNotKnownAreIgnored(sample: Sample) throws {
        let parts = try Self.changed(sample) { $0["x_new"] = .array([.null]) }
        #expect(try Message.read(parts, from: sample.sender) == Self.message(sample.frame))
    }

    @Test(arguments: Sample.all)
    func nobodySendsWhatTheOtherSideSends(sample: Sample) throws {
        let parts = Self.message(sample.frame).parts[...]
        for sender in Frame.Sender.allCases where !sample.frame.kind.isSent(by: sender) {
            #expect(throws: FrameError.wrongDirection(kind: sample.frame.kind.rawValue)) { try Message.read(parts, from: sender) }
        }
        #expect(Frame.Sender.allCases.contains { sample.frame.kind.isSent(by: $0) })
    }

    @Test(arguments: Sample.all)
    func anotherVersionIsSaidBeforeAnythingElse(sample: Sample) throws {
        let parts = try Self.changed(sample) { $0 = ["v": .integer(2)] }
        #expect(throws: FrameError.version(2)) { try Message.read(parts, from: sample.sender) }
    }

    @Test func aKindThatIsNotKnownIsIgnored() throws {
        var parts = Self.message(.drain(Drain(deadlineSeconds: 1))).parts
        parts[0] = ZeroMQPart("later_kind")
        #expect(try Message.read(parts[...], from: .agent) == nil)
    }

    typealias Wrong = (change: @Sendable (inout [ZeroMQPart]) -> Void, error: FrameError)
    static let wrong: [Wrong] = [
        ({ $0 = [] }, .parts(0)), ({ $0 = Array($0.prefix(2)) }, .parts(2)), ({ $0 += [$0[0], $0[0]] }, .parts(5)),
        ({ $0[0] = ZeroMQPart("") }, .malformedHead), ({ $0[0] = ZeroMQPart("drain ") }, .malformedHead),
        ({ $0[0] = ZeroMQPart([0xff]) }, .malformedHead), ({ $0[0] = ZeroMQPart(String(repeating: "d", count: 33)) }, .malformedHead),
        ({ $0[1] = ZeroMQPart("a b") }, .malformedHead), ({ $0[1] = ZeroMQPart([0]) }, .malformedHead),
        ({ $0[1] = ZeroMQPart(String(repeating: "r", count: 129)) }, .malformedHead),
        ({ $0[2] = ZeroMQPart([]) }, .malformedBody), ({ $0[2] = ZeroMQPart([0x90]) }, .malformedBody),
        ({ $0[2] = ZeroMQPart($0[2].bytes + [0]) }, .malformedBody),
        ({ $0[2] = ZeroMQPart([0x82, 0xa1, 0x76, 1, 0xa1, 0x76, 1]) }, .malformedBody),
        ({ $0 += [ZeroMQPart("gzip")] }, .malformedCompression), ({ $0 += [ZeroMQPart("zstd")] }, .malformedCompression),
    ]

    @Test(arguments: wrong.indices)
    func whatIsNoMessageIsRefused(index: Int) {
        var parts = Self.message(.drain(Drain(deadlineSeconds: 1))).parts
        Self.wrong[index].change(&parts)
        #expect(throws: Self.wrong[index].error) { try Message.read(parts[...], from: .agent) }
    }

    /// What Postgres cannot store must not come so far: one agent's report is written together with those of others.
    @Test func controlCharactersInNamesAreRefused() throws {
        for text in ["a\0b", "a\nb", "\u{7f}"] {
            let accelerator = Accelerator(kind: "cuda", name: text, memoryBytes: 1, index: 0)
            let hello = Hello(
                agentID: "agt_1", workerID: "local:agt_1", version: "1", role: .inference, token: "t", accelerators: [accelerator],
                maxConcurrent: 1, models: [], inFlight: [], kvSequence: 0)
            #expect(throws: FrameError.invalid(field: "name")) { try Message.read(Self.message(.hello(hello)).parts[...], from: .agent) }
            let status = ModelStatus(modelID: text, version: "1", state: .ready, bytesDone: 0, bytesTotal: 0)
            #expect(throws: FrameError.invalid(field: "model_id")) {
                try Message.read(Self.message(.modelStatus(status)).parts[...], from: .agent)
            }
        }
        let failure = Message(id: "r", attempt: 1, sequence: 0, time: 0, .error(Failure(code: "c", fault: .agent, message: "two\nlines")))
        #expect(try Message.read(failure.parts[...], from: .agent) == failure)
    }

    @Test func numbersOutOfTheirRangesAreRefused() throws {
        func refused(_ frame: Frame, _ field: String, _ value: MessagePackValue) throws {
            let sample = Sample(frame, "")
            let parts = try Self.changed(sample) { $0[field] = value }
            #expect(throws: FrameError.invalid(field: field)) { try Message.read(parts, from: sample.sender) }
        }
        let credit = Frame.credit(Credit(chunks: 1, bytes: 1))
        for value: MessagePackValue in [.integer(-1), .integer(4_097), .integer(.max), MessagePackValue(UInt64.max), .double(1)] {
            try refused(credit, "n", value)
        }
        for field in ["a", "s", "t"] { try refused(credit, field, .integer(-1)) }
        try refused(credit, "v", .string("1"))
        let sample = Sample.all.first { $0.frame.kind == .heartbeat }!
        for value in [-0.1, 1.1, .nan, .infinity] { try refused(sample.frame, "kv_used", .double(value)) }
        try refused(.cancel(Cancel(reason: .client)), "reason", .string("because"))
        let dispatch = Sample.all.first { $0.frame.kind == .dispatch }!
        try refused(dispatch.frame, "task", .string("dance"))
        try refused(dispatch.frame, "prefix", .array([.integer(-1)]))
        try refused(.chunk(Chunk(.bytes([1]), tokens: 0)), "d", .binary([UInt8](repeating: 0, count: Chunk.dataLength + 1)))
        let halves = MessagePackValue.array([MessagePackValue](repeating: .binary([UInt8](repeating: 0, count: 40_000)), count: 2))
        try refused(.chunk(Chunk(.bytes([1]), tokens: 0)), "d", halves)
        try refused(.curveRotate(CurveRotate(reason: "", nonce: [UInt8](repeating: 0, count: 16))), "nonce", .binary([1]))
    }

    @Test func longMapsGoCompressedWhereThatHelps() throws {
        func dispatch(_ body: [UInt8]) -> Message {
            Self.message(
                .dispatch(
                    Dispatch(
                        work: .inference(.chat, model: .init(id: "m", version: "1"), body: body), deadline: 1, priority: 0, credit: 64,
                        project: "proj_1")))
        }
        let text = [UInt8](repeating: UInt8(ascii: "x"), count: 20 << 20)
        let long = dispatch(text)
        #expect(long.parts.count == 4 && long.parts[3].bytes == Array("zstd".utf8) && long.parts[2].count < 100_000)
        #expect(try Message.read(long.parts[...], from: .router) == long)
        var generator = SystemRandomNumberGenerator()
        let noise = dispatch((0..<8_000).map { _ in UInt8.random(in: 0...255, using: &generator) })
        #expect(noise.parts.count == 3)
        #expect(try Message.read(noise.parts[...], from: .router) == noise)
        #expect(dispatch(Array(text.prefix(3_000))).parts.count == 3)

        let beyond = dispatch(text + [0])
        #expect(throws: FrameError.invalid(field: "body")) { try Message.read(beyond.parts[...], from: .router) }
        // 200 MiB of zeros in some 20 KB are refused by what the head says, before they are made.
        let bomb = dispatch([UInt8](repeating: 0, count: 200 << 20)).parts
        #expect(bomb[2].count < 100_000)
        #expect(throws: FrameError.malformedCompression) { try Message.read(bomb[...], from: .router) }
        var cut = long.parts
        cut[2] = ZeroMQPart(Array(cut[2].bytes.dropLast(7)))
        #expect(throws: FrameError.malformedCompression) { try Message.read(cut[...], from: .router) }
    }

    @Test func aTokenIsNotPrinted() {
        #expect(!"\(Sample.all[0].frame)".contains("jwt"))
    }
}
