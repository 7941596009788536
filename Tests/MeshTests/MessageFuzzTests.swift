import Foundation
import Mesh
import MeshSamples
import Testing
import ZeroMQ

/// Damaged messages of every kind are refused, ignored or read; what is read is written and read again the same. `XEROTIER_FUZZ_SECONDS` (1) and
/// `XEROTIER_FUZZ_SEED` say how long and from where.
@Suite struct MessageFuzzTests {
    @Test func damagedMessagesNeverLeaveTheRules() throws {
        let environment = ProcessInfo.processInfo.environment
        let seed = environment["XEROTIER_FUZZ_SEED"].flatMap { UInt64($0) } ?? UInt64.random(in: 0...UInt64(UInt32.max))
        let seconds = environment["XEROTIER_FUZZ_SECONDS"].flatMap { Double($0) } ?? 1
        var generator = FuzzNumbers(seed: seed)
        let valid = Sample.all.map { Message(id: "req_1", attempt: 1, sequence: 0, time: 5, $0.frame).parts.map(\.bytes) }
        var (read, refused) = (0, 0)
        let end = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < end {
            for _ in 0..<200 {
                var parts = valid.randomElement(using: &generator)!
                for _ in 0..<Int.random(in: 1...4, using: &generator) { damage(&parts, &generator) }
                for sender in Frame.Sender.allCases {
                    do {
                        guard let message = try Message.read(parts.map { ZeroMQPart($0) }[...], from: sender) else { continue }
                        read += 1
                        // Compared as text, which a NaN in a carried value does not upset.
                        let again = try Message.read(message.parts[...], from: sender)
                        try #require("\(again!)" == "\(message)", "seed \(seed)")
                    } catch is FrameError {
                        refused += 1
                    }
                }
            }
        }
        #expect(read > 0 && refused > 0)
    }
}
