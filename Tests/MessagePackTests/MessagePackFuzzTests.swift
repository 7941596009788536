import Foundation
import MessagePack
import Testing

/// Random values must come back as they were; random, cut and damaged bytes must be read or refused, in bounds, and what is read must be what is
/// written again. `XEROTIER_FUZZ_SECONDS` (1) and `XEROTIER_FUZZ_SEED` (of the clock, printed on failure) say how long and from where.
@Suite struct MessagePackFuzzTests {
    @Test func randomBytesAndValuesNeverLeaveTheRules() throws {
        let environment = ProcessInfo.processInfo.environment
        let seed = environment["XEROTIER_FUZZ_SEED"].flatMap(UInt64.init) ?? UInt64.random(in: 0...UInt64(UInt32.max))
        let seconds = environment["XEROTIER_FUZZ_SECONDS"].flatMap(Double.init) ?? 1
        var generator = SplitMix(state: seed)
        let end = ContinuousClock.now + .seconds(seconds)
        var rounds = 0
        repeat {
            let value = Self.value(depth: 0, &generator)
            var bytes = MessagePackWriter.bytes(of: value)
            try #require(try MessagePackReader.read(bytes) == value, "seed \(seed)")
            for cut in 0..<min(bytes.count, 40) {
                let isRefused = (try? MessagePackReader.read(Array(bytes[..<cut]))) == nil
                try #require(isRefused, "cut at \(cut), seed \(seed)")
            }
            for _ in 0..<8 {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
                // Compared as bytes: a NaN is not equal to itself.
                guard let read = try? MessagePackReader.read(bytes) else { continue }
                let again = MessagePackWriter.bytes(of: read)
                try #require(again.count <= 2 * bytes.count, "seed \(seed)")
                try #require(MessagePackWriter.bytes(of: try MessagePackReader.read(again)) == again, "seed \(seed)")
            }
            rounds += 1
        } while rounds < 10 || ContinuousClock.now < end
    }

    private static func value(depth: Int, _ generator: inout SplitMix) -> MessagePackValue {
        switch Int.random(in: 0..<(depth < 5 ? 9 : 7), using: &generator) {
        case 0: return .null
        case 1: return .bool(.random(using: &generator))
        case 2: return .integer(Int64.random(in: .min ... .max, using: &generator) >> Int.random(in: 0..<64, using: &generator))
        case 3: return MessagePackValue(UInt64.random(in: .min ... .max, using: &generator))
        case 4: return .double(Double.random(in: -1e9...1e9, using: &generator))
        case 5: return .string(text(&generator))
        case 6: return .binary((0..<length(&generator)).map { _ in UInt8.random(in: 0...255, using: &generator) })
        case 7: return .array((0..<Int.random(in: 0..<20, using: &generator)).map { _ in value(depth: depth + 1, &generator) })
        default:
            var map = MessagePackMap()
            for _ in 0..<Int.random(in: 0..<40, using: &generator) { map[text(&generator)] = value(depth: depth + 1, &generator) }
            return .map(map)
        }
    }

    private static func length(_ generator: inout SplitMix) -> Int {
        Int.random(in: 0..<300, using: &generator) >> Int.random(in: 0..<6, using: &generator)
    }

    private static func text(_ generator: inout SplitMix) -> String {
        String((0..<length(&generator)).map { _ in "aé€😀\u{0}z".randomElement(using: &generator)! })
    }
}

/// SplitMix64 (https://prng.di.unimi.it/splitmix64.c): the same numbers for the same seed.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
