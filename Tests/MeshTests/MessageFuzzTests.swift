import Foundation
import Mesh
import Testing
import ZeroMQ

/// Damaged messages of every kind are refused, ignored or read; what is read is written and read again the same. `XEROTIER_FUZZ_SECONDS` (1) and
/// `XEROTIER_FUZZ_SEED` say how long and from where.
@Suite struct MessageFuzzTests {
    @Test func damagedMessagesNeverLeaveTheRules() throws {
        let environment = ProcessInfo.processInfo.environment
        let seed = environment["XEROTIER_FUZZ_SEED"].flatMap { UInt64($0) } ?? UInt64.random(in: 0...UInt64(UInt32.max))
        let seconds = environment["XEROTIER_FUZZ_SECONDS"].flatMap { Double($0) } ?? 1
        var generator = SplitMix(state: seed)
        let valid = Sample.all.map { Message(id: "req_1", attempt: 1, sequence: 0, time: 5, $0.frame).parts.map(\.bytes) }
        var (read, refused) = (0, 0)
        let end = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < end {
            for _ in 0..<200 {
                var parts = valid.randomElement(using: &generator)!
                for _ in 0..<Int.random(in: 1...4, using: &generator) { Self.damage(&parts, &generator) }
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

    private static func damage(_ parts: inout [[UInt8]], _ generator: inout SplitMix) {
        guard !parts.isEmpty else { return }
        let place =
            Int.random(in: 0..<8, using: &generator) == 0 ? Int.random(in: parts.indices, using: &generator) : min(2, parts.count - 1)
        let byte = UInt8.random(in: 0...255, using: &generator)
        switch Int.random(in: 0..<10, using: &generator) {
        case 0: parts[place].removeLast(min(parts[place].count, Int.random(in: 1...20, using: &generator)))
        case 1: parts[place].append(byte)
        case 2 where !parts[place].isEmpty: parts[place].remove(at: Int.random(in: parts[place].indices, using: &generator))
        case 3: parts[place].insert(byte, at: Int.random(in: 0...parts[place].count, using: &generator))
        case 4: parts.remove(at: place)
        case 5: parts.append(Array("zstd".utf8))
        default: if !parts[place].isEmpty { parts[place][Int.random(in: parts[place].indices, using: &generator)] = byte }
        }
    }
}

/// SplitMix64 (https://prng.di.unimi.it/splitmix64.c): the same numbers for the same seed.
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
