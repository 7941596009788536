import Routing
import Testing

@Suite struct PrefixTests {
    private func hashes(_ text: String, project: String = "proj_a", version: String = "v1", secret: UInt8 = 1) throws -> [UInt64] {
        var chain = try PrefixHashing(salting: [UInt8](repeating: secret, count: 32)).chain(project: project, modelVersion: version)
        chain.addPart(text)
        return chain.hashes
    }

    private func text(_ bytes: Int) -> String { String((0..<bytes).map { Character(UnicodeScalar(UInt8(97 + $0 % 26))) }) }

    @Test func onlyFullBlocksHaveAHashAndCommonBeginningsShareTheirs() throws {
        // Eight bytes of length stand before the text.
        #expect(try hashes(text(247)).isEmpty)
        #expect(try hashes(text(248)).count == 1)
        var short = try PrefixHashing(salting: [1]).chain(project: "p", modelVersion: "v")
        var long = short
        text(1_024).utf8.withContiguousStorageIfAvailable { short.add(UnsafeRawBufferPointer($0)) }
        (text(1_024) + text(600)).utf8.withContiguousStorageIfAvailable { long.add(UnsafeRawBufferPointer($0)) }
        #expect(short.hashes.count == 4 && long.hashes.count == 6)
        #expect(Array(long.hashes.prefix(4)) == short.hashes)
        #expect(Set(long.hashes).count == 6)
    }

    @Test func equalTextOfTwoProjectsVersionsOrDeploymentsSharesNoHash() throws {
        let one = try hashes(text(4_096))
        #expect(try hashes(text(4_096)) == one)
        for other in try [hashes(text(4_096), project: "proj_b"), hashes(text(4_096), version: "v2"), hashes(text(4_096), secret: 2)] {
            #expect(other.count == one.count && Set(other).isDisjoint(with: one))
        }
    }

    @Test func theCutOfTheBytesDoesNotMatterButTheCutOfPartsDoes() throws {
        var whole = try PrefixHashing(salting: [1]).chain(project: "p", modelVersion: "v")
        var pieces = whole
        let bytes = Array(text(2_000).utf8)
        bytes.withUnsafeBytes { whole.add($0) }
        for byte in bytes { [byte].withUnsafeBytes { pieces.add($0) } }
        #expect(whole.hashes == pieces.hashes)

        var left = try PrefixHashing(salting: [1]).chain(project: "p", modelVersion: "v")
        var right = left
        left.addPart("ab")
        left.addPart("c" + text(300))
        right.addPart("a")
        right.addPart("bc" + text(300))
        #expect(Set(left.hashes).isDisjoint(with: right.hashes))
    }

    @Test func nothingBeyond256KiBIsHashed() throws {
        #expect(try hashes(text(300_000)).count == 1_024)
    }

    @Test func theLongestKnownBeginningIsFoundAtEachWorker() {
        var index = PrefixIndex(start: 0)
        index.insert([1, 2, 3, 4], at: 0, at: 10)
        index.insert([1, 2], at: 3, at: 20)
        index.insert([9], at: 2, at: 20)
        let found = index.matches(of: [1, 2, 3, 5], at: [0, 1, 2, 3], at: 30)
        #expect(found[0] == PrefixMatch(blocks: 3, age: 20))
        #expect(found[1] == nil && found[2] == nil && found[7] == nil)
        #expect(found[3] == PrefixMatch(blocks: 2, age: 10))
        // Who is not asked for is not told.
        #expect(index.matches(of: [1], at: [3], at: 30)[0] == nil)
    }

    @Test func entriesEndAfterHalfAnHourUnlessTheyAreSeenAgain() {
        var index = PrefixIndex(start: 0)
        index.insert([1, 2], at: 0, at: 0)
        index.insert([1], at: 0, at: 1_000)
        #expect(index.matches(of: [1, 2], at: [0], at: 1_799)[0]?.blocks == 2)
        #expect(index.matches(of: [1, 2], at: [0], at: 1_801)[0]?.blocks == 1)
        index.insert([7], at: 0, at: 1_900)
        #expect(index.count(at: 0) == 2)
        #expect(index.matches(of: [1, 2], at: [0], at: 2_801)[0] == nil)
    }

    @Test func theOldestAreForgottenFirstAndTheEndsOfPromptsBeforeTheirBeginnings() {
        var index = PrefixIndex(start: 0)
        let most = UInt64(PrefixIndex.entriesOfWorker)
        index.insert((0..<1_000).map { $0 }, at: 0, at: 1)
        for start in stride(from: 1_000, to: most, by: 500) { index.insert((start..<min(start + 500, most)).map { $0 }, at: 0, at: 2) }
        #expect(index.count(at: 0) == Int(most))
        index.insert([most + 1], at: 0, at: 3)
        #expect(index.count(at: 0) == Int(most))
        #expect(index.matches(of: (0..<1_000).map { $0 }, at: [0], at: 3)[0]?.blocks == 999)
        // Others are not touched.
        index.insert([1], at: 1, at: 3)
        #expect(index.count(at: 0) == Int(most) && index.count(at: 1) == 1)
    }

    @Test func whatAnAgentRemovedIsForgottenAndAGapInItsNumbersForgetsAll() {
        var index = PrefixIndex(start: 0)
        index.begin(slot: 0, sequence: 4)
        index.insert([1, 2, 3], at: 0, at: 0)
        index.apply(sequence: 5, removed: [3, 77], isCleared: false, at: 0)
        #expect(index.matches(of: [1, 2, 3], at: [0], at: 1)[0]?.blocks == 2)
        index.apply(sequence: 7, removed: [], isCleared: false, at: 0)
        #expect(index.count(at: 0) == 0)
        index.insert([1], at: 0, at: 0)
        index.apply(sequence: 8, removed: [], isCleared: true, at: 0)
        #expect(index.count(at: 0) == 0)
    }

    @Test func anEngineThatFoundLittleInItsCacheLosesTheEntries() {
        var index = PrefixIndex(start: 0)
        index.insert([1, 2, 3, 4], at: 0, at: 0)
        index.correct([1, 2, 3, 4], expectedTokens: 256, cachedTokens: 64, at: 0)
        #expect(index.count(at: 0) == 4)
        index.correct([1, 2, 3, 4], expectedTokens: 256, cachedTokens: 63, at: 0)
        #expect(index.count(at: 0) == 0)
    }

    /// Random work, compared with the plainest index there could be.
    @Test func manyChangesLeaveWhatASimpleIndexWouldHold() {
        var generator = SplitMix64(seed: 5)
        var index = PrefixIndex(start: 0)
        var plain: [Int: [UInt64: Double]] = [:]
        var now = 0.0
        for _ in 0..<3_000 {
            now += Double.random(in: 0...4, using: &generator)
            let slot = Int.random(in: 0..<6, using: &generator)
            let start = UInt64.random(in: 0..<40, using: &generator)
            let hashes = (start..<(start + UInt64.random(in: 1..<12, using: &generator))).map { $0 }
            switch Int.random(in: 0..<10, using: &generator) {
            case 0:
                index.clear(slot: slot)
                plain[slot] = nil
            case 1, 2:
                index.remove(hashes, at: slot)
                for hash in hashes { plain[slot]?[hash] = nil }
            default:
                index.insert(hashes, at: slot, at: now)
                for hash in hashes { plain[slot, default: [:]][hash] = now }
            }
            let found = index.matches(of: hashes, at: Array(0..<6), at: now)
            for slot in 0..<6 {
                let expected = hashes.lastIndex { hash in plain[slot]?[hash].map { now - $0 < PrefixIndex.timeToLive } ?? false }
                #expect(found[slot]?.blocks == expected.map { $0 + 1 })
            }
        }
    }

    @Test func aWarmWorkerGetsItsPromptAgainAndAboutItsShareAfterItsCacheIsCleared() throws {
        var index = PrefixIndex(start: 0)
        let prompt = try hashes(text(4_096))
        index.insert(prompt, at: 2, at: Pool.now)
        var generator = SplitMix64(seed: 8)
        func part(of project: String, _ prefix: [UInt64]) -> Double {
            let request = Pool.request(project: project) { $0.prefix = prefix }
            var hits = 0
            for _ in 0..<1_000 {
                let choice = Chooser().choose(
                    for: request, among: Pool.workers(4), index: index, entitlement: Pool.evenly, at: Pool.now, using: &generator)
                hits += choice.decision!.chosen == 2 ? 1 : 0
            }
            return Double(hits) / 1_000
        }
        #expect(part(of: "proj_a", prompt) >= 0.85)
        #expect(abs(part(of: "proj_b", try hashes(text(4_096), project: "proj_b")) - 0.25) < 0.05)
        index.apply(sequence: 1, removed: [], isCleared: true, at: 2)
        #expect(abs(part(of: "proj_a", prompt) - 0.25) < 0.05)
    }

    /// Whoever has begun the hot prompt is warm, too, so that a prompt that is hot for longer spreads as far as its load needs.
    @Test(arguments: [16, 32, 48, 64]) func aHotPromptUsesAllOfEightWorkersWhereItsLoadIsMoreThanOneCanHave(atATime: Int) throws {
        var workers = Pool.workers(8)
        var index = PrefixIndex(start: 0)
        let prompt = try hashes(text(4_096))
        index.insert(prompt, at: 2, at: Pool.now)
        let request = Pool.request { $0.prefix = prompt }
        var generator = SplitMix64(seed: 9)
        var running: [Int] = []
        var answered = [Int](repeating: 0, count: 8)
        for _ in 0..<2_000 {
            if running.count == atATime {
                let place = running.remove(at: Int.random(in: running.indices, using: &generator))
                workers[place].ended(project: "proj_a", tokens: 800, model: Pool.model, .answered(Pool.timings(total: 600)), at: Pool.now)
                answered[place] += 1
            }
            let choice = Chooser().choose(
                for: request, among: workers, index: index, entitlement: Pool.evenly, at: Pool.now, using: &generator)
            let place = try #require(choice.decision).chosen
            workers[place].began(project: "proj_a", tokens: 800)
            index.insert(prompt, at: workers[place].slot, at: Pool.now)
            running.append(place)
        }
        #expect(answered.allSatisfy { $0 > 0 })
    }
}
