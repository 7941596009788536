/// Who has seen which beginnings of prompts: the router's idea of the prefix caches of all workers (05 §5).
///
/// A hash leads to a list of its holders, so a lookup costs as much for a thousand workers as for those that hold something. Each worker's entries
/// form a list by age besides, and an entry takes 56 bytes at most, all tables included. Deeper blocks are made older than those before them, so that what is forgotten first is the end of a prompt.
public struct PrefixIndex: ~Copyable, Sendable {
    /// Seconds.
    public static let timeToLive: Double = 1_800
    public static let entriesOfWorker = 65_536

    /// A worker that has a block. What a lookup walks through is kept apart from the rest of its entry, so that more of it fits in the cache.
    private struct Link {
        var slot: Int32
        /// The place of the next that has the same block; -1 = none.
        var next: Int32
    }

    /// The rest; the links are places, -1 = none.
    private struct Entry {
        var hash: UInt64
        var older: Int32 = -1
        var newer: Int32 = -1
    }

    private struct Holder {
        var count = 0
        var oldest: Int32 = -1
        var newest: Int32 = -1
        /// Number of the last `kv_event`; nil = none yet.
        var sequence: UInt64?
    }

    /// By hash: the first of its holders.
    private var heads = PlaceTable()
    /// By hash and slot: the entry.
    private var places = PlaceTable()
    private var links: [Link] = []
    private var seen: [Float] = []
    private var entries: [Entry] = []
    private var free: [Int32] = []
    private var holders: [Holder] = []
    /// Times are kept as Float, which is exact enough for days after this.
    private let start: Instant

    public init(start: Instant) { self.start = start }

    public func count(at slot: Int) -> Int { slot < holders.count ? holders[slot].count : 0 }

    /// The longest known beginning of a prompt at each of the slots.
    ///
    /// A lookup goes from the end of the prompt and stops when all are found. Prompts whose holders differ at every block could make that long, so
    /// it gives up after a number of steps; who is not found by then counts as holding nothing.
    public func matches(of hashes: [UInt64], at slots: [Int], at now: Instant) -> PrefixMatches {
        guard !hashes.isEmpty && heads.count > 0 else { return PrefixMatches() }
        var matches = PrefixMatches(highest: slots.max() ?? -1)
        for slot in slots { matches.expect(slot) }
        var steps = 4 * slots.count + 16_384
        let oldest = now - Self.timeToLive
        for place in hashes.indices.reversed() {
            var at = head(of: hashes[place])
            while at >= 0 {
                let link = links[Int(at)]
                if matches.isExpected(Int(link.slot)) {
                    let seen = start + Double(seen[Int(at)])
                    if seen > oldest { matches.found(Int(link.slot), PrefixMatch(blocks: place + 1, age: max(0, now - seen))) }
                    if matches.isComplete { return matches }
                }
                at = link.next
                steps -= 1
                if steps <= 0 { return matches }
            }
        }
        return matches
    }

    /// A worker has computed the prompt: called at the first token of an answer, and at its end with the answer's blocks too.
    public mutating func insert(_ hashes: [UInt64], at slot: Int, at now: Instant) {
        while holders.count <= slot { holders.append(Holder()) }
        forgetExpired(at: slot, now)
        for hash in hashes.suffix(Self.entriesOfWorker).reversed() {
            if let known = find(hash, slot) {
                unlink(known)
                seen[Int(known)] = Float(now - start)
                linkAsNewest(known)
            } else {
                if holders[slot].count == Self.entriesOfWorker { remove(holders[slot].oldest) }
                add(hash, slot, now)
            }
        }
    }

    /// The worker no longer has these.
    public mutating func remove(_ hashes: some Sequence<UInt64>, at slot: Int) {
        for hash in hashes {
            if let known = find(hash, slot) { remove(known) }
        }
    }

    /// The worker has nothing any more: its engine was restarted, it left, or we missed what it removed.
    public mutating func clear(slot: Int) {
        guard slot < holders.count else { return }
        while holders[slot].oldest >= 0 { remove(holders[slot].oldest) }
    }

    /// What an agent tells of its engine's cache. Its events are numbered; after a gap nothing of the worker is believed any more.
    public mutating func apply(sequence: UInt64, removed: [UInt64], isCleared: Bool, at slot: Int) {
        while holders.count <= slot { holders.append(Holder()) }
        let expected = holders[slot].sequence.map { $0 &+ 1 }
        if isCleared || (expected != nil && expected != sequence) {
            clear(slot: slot)
        } else {
            remove(removed, at: slot)
        }
        holders[slot].sequence = sequence
    }

    /// A worker has come, or come back, whose last event had this number. What was known of the slot is forgotten.
    public mutating func begin(slot: Int, sequence: UInt64) {
        while holders.count <= slot { holders.append(Holder()) }
        clear(slot: slot)
        holders[slot].sequence = sequence
    }

    /// An engine that found less than a quarter of what was expected of it in its cache has lost it.
    public mutating func correct(_ matched: ArraySlice<UInt64>, expectedTokens: Int, cachedTokens: Int, at slot: Int) {
        if cachedTokens * 4 < expectedTokens { remove(matched, at: slot) }
    }

    // MARK: - Entries

    private func find(_ hash: UInt64, _ slot: Int) -> Int32? {
        places.find(Self.mixed(hash, slot)) { entries[Int($0)].hash == hash && Int(links[Int($0)].slot) == slot }
    }

    /// -1 = nobody has it.
    private func head(of hash: UInt64) -> Int32 { heads.find(hash) { entries[Int($0)].hash == hash } ?? -1 }

    /// Hashes are spread already; the slot must change all of the low bits.
    private static func mixed(_ hash: UInt64, _ slot: Int) -> UInt64 { hash ^ (UInt64(slot + 1) &* 0x9e37_79b9_7f4a_7c15).byteSwapped }

    private mutating func add(_ hash: UInt64, _ slot: Int, _ now: Instant) {
        let head = head(of: hash)
        let link = Link(slot: Int32(slot), next: head)
        let place: Int32
        if let reused = free.popLast() {
            place = reused
            links[Int(place)] = link
            seen[Int(place)] = Float(now - start)
            entries[Int(place)] = Entry(hash: hash)
        } else {
            place = Int32(entries.count)
            Self.append(link, to: &links)
            Self.append(Float(now - start), to: &seen)
            Self.append(Entry(hash: hash), to: &entries)
        }
        if head >= 0 {
            heads.replace(head, by: place, hash)
        } else {
            heads.insert(place, hash) { entries[Int($0)].hash }
        }
        places.insert(place, Self.mixed(hash, slot)) { Self.mixed(entries[Int($0)].hash, Int(links[Int($0)].slot)) }
        holders[slot].count += 1
        linkAsNewest(place)
    }

    /// An array doubles by itself, which would leave half of the memory unused.
    private static func append<Element>(_ element: Element, to array: inout [Element]) {
        if array.count == array.capacity { array.reserveCapacity(array.count + max(1_024, array.count / 8)) }
        array.append(element)
    }

    private mutating func remove(_ place: Int32) {
        unlink(place)
        let link = links[Int(place)]
        let hash = entries[Int(place)].hash
        holders[Int(link.slot)].count -= 1
        places.remove(place, Self.mixed(hash, Int(link.slot))) { Self.mixed(entries[Int($0)].hash, Int(links[Int($0)].slot)) }
        let head = head(of: hash)
        if head != place {
            var before = head
            while links[Int(before)].next != place { before = links[Int(before)].next }
            links[Int(before)].next = link.next
        } else if link.next >= 0 {
            heads.replace(place, by: link.next, hash)
        } else {
            heads.remove(place, hash) { entries[Int($0)].hash }
        }
        free.append(place)
    }

    private mutating func unlink(_ place: Int32) {
        let entry = entries[Int(place)]
        let slot = Int(links[Int(place)].slot)
        if entry.older >= 0 { entries[Int(entry.older)].newer = entry.newer } else { holders[slot].oldest = entry.newer }
        if entry.newer >= 0 { entries[Int(entry.newer)].older = entry.older } else { holders[slot].newest = entry.older }
    }

    private mutating func linkAsNewest(_ place: Int32) {
        let slot = Int(links[Int(place)].slot)
        let before = holders[slot].newest
        entries[Int(place)].older = before
        entries[Int(place)].newer = -1
        if before >= 0 { entries[Int(before)].newer = place } else { holders[slot].oldest = place }
        holders[slot].newest = place
    }

    private mutating func forgetExpired(at slot: Int, _ now: Instant) {
        while holders[slot].oldest >= 0, now - start - Double(seen[Int(holders[slot].oldest)]) >= Self.timeToLive {
            remove(holders[slot].oldest)
        }
    }
}

public struct PrefixMatch: Sendable, Equatable {
    public var blocks: Int
    /// Seconds since the worker saw it last.
    public var age: Double

    public init(blocks: Int, age: Double) {
        self.blocks = blocks
        self.age = age
    }
}

/// What a lookup found, by slot.
public struct PrefixMatches: Sendable {
    private var found: [PrefixMatch?]
    private var expected: [Bool]
    private var missing = 0

    init(highest slot: Int = -1) {
        found = .init(repeating: nil, count: slot + 1)
        expected = .init(repeating: false, count: slot + 1)
    }

    public subscript(slot: Int) -> PrefixMatch? { slot < found.count ? found[slot] : nil }

    var isComplete: Bool { missing == 0 }
    func isExpected(_ slot: Int) -> Bool { slot < expected.count && expected[slot] }

    mutating func expect(_ slot: Int) {
        expected[slot] = true
        missing += 1
    }

    mutating func found(_ slot: Int, _ match: PrefixMatch) {
        found[slot] = match
        expected[slot] = false
        missing -= 1
    }
}
