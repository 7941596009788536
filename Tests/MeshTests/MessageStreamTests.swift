import Foundation
import Mesh
import MeshSamples
import Testing
import ZeroMQ

@Suite struct MessageStreamTests {
    private static func message(_ frame: Frame) -> Message { Message(id: "req_1.1", attempt: 1, sequence: 4, time: 5, frame) }

    private static func read(_ pieces: [ArraySlice<UInt8>], from sender: Frame.Sender) throws -> [Message] {
        var stream = MessageStream()
        var messages: [Message] = []
        for piece in pieces {
            piece.withUnsafeBytes { stream.append($0) }
            while let message = try stream.next(from: sender) { messages.append(message) }
        }
        return messages
    }

    private static func pieces(_ bytes: [UInt8], of length: Int) -> [ArraySlice<UInt8>] {
        stride(from: 0, to: bytes.count, by: length).map { bytes[$0..<min($0 + length, bytes.count)] }
    }

    @Test(arguments: Sample.all)
    func aMessageIsReadAsItWasWrittenWhereverItIsCut(sample: Sample) throws {
        let message = Self.message(sample.frame)
        var bytes: [UInt8] = []
        for _ in 0..<3 { message.append(to: &bytes) }
        for length in [1, 2, 7, bytes.count / 3 + 1, bytes.count] {
            #expect(try Self.read(Self.pieces(bytes, of: length), from: sample.sender) == [message, message, message])
        }
    }

    @Test func whatAnAgentHasCompressedIsPassedOnAsItIs() throws {
        let text = [UInt8](repeating: UInt8(ascii: "a"), count: 50_000)
        let message = Self.message(.chunk(Chunk(.bytes(text), tokens: 0, isFinal: true)))
        let parts = message.parts
        try #require(parts.count == 4)
        var bytes: [UInt8] = []
        Message.append(parts[...], to: &bytes)
        #expect(bytes.count < 1_000)
        #expect(try Self.read([bytes[...]], from: .relay) == [message])
    }

    @Test func aLargeRequestGoesThrough() throws {
        let body = [UInt8](repeating: UInt8(ascii: "{"), count: 20 << 20)
        let message = Self.message(
            .route(
                RouteRequest(
                    Dispatch(
                        work: .inference(.chat, model: .init(id: "m", version: "1"), body: body), deadline: 1, priority: 0, credit: 0,
                        project: "p"), isStream: false, tier: "t", queueWait: 1, promptTokens: 1, answerTokens: 1, profile: "default")))
        var bytes: [UInt8] = []
        message.append(to: &bytes)
        #expect(try Self.read(Self.pieces(bytes, of: 65_536), from: .gateway) == [message])
    }

    @Test func lengthsThatCannotBeAreRefused() throws {
        var good: [UInt8] = []
        Self.message(.ping(Ping())).append(to: &good)
        func refused(_ change: (inout [UInt8]) -> Void) {
            var bytes = good
            change(&bytes)
            #expect(throws: FrameError.malformedHead) { try Self.read([bytes[...]], from: .gateway) }
        }
        refused { $0[0] = 0xff }
        refused { $0.replaceSubrange(0..<4, with: [0, 0, 0, 2]) }
        // A kind, or an id, that is longer than the message.
        refused { $0[4] = 250 }
        refused { $0[5] = 250 }
        refused { $0[6] = 2 }
        refused { $0[4] = 0 }
        #expect(throws: FrameError.wrongDirection(kind: "ping")) { try Self.read([good[...]], from: .agent) }
    }

    @Test func aMessageOfAnUnknownKindIsLeftOut() throws {
        var (unknown, known): ([UInt8], [UInt8]) = ([], [])
        Self.message(.ping(Ping())).append(to: &unknown)
        unknown.replaceSubrange(7..<11, with: Array("pong".utf8))
        Self.message(.ping(Ping())).append(to: &known)
        #expect(try Self.read([(unknown + known)[...]], from: .relay) == [Self.message(.ping(Ping()))])
        #expect(try Self.read([unknown[...], known[...]], from: .relay) == [Self.message(.ping(Ping()))])
    }
}
