/// A hash table of places in somebody else's arrays, which hold the keys: four bytes for each slot, where a Dictionary would hold the keys a second
/// time. Linear probing; the table is never more than two thirds full.
struct PlaceTable: Sendable {
    private var slots = [Int32](repeating: -1, count: 64)
    private(set) var count = 0

    private var mask: Int { slots.count - 1 }

    /// - Parameters:
    ///   - hash: of the key; its low bits must be spread.
    ///   - isKey: whether the key stands at a place.
    @inline(__always)
    func find(_ hash: UInt64, _ isKey: (Int32) -> Bool) -> Int32? {
        var slot = Int(truncatingIfNeeded: hash) & mask
        while slots[slot] >= 0 {
            if isKey(slots[slot]) { return slots[slot] }
            slot = (slot + 1) & mask
        }
        return nil
    }

    /// Adds a key that is not there.
    /// - Parameter hashOf: of the key at a place.
    mutating func insert(_ place: Int32, _ hash: UInt64, hashOf: (Int32) -> UInt64) {
        if 3 * (count + 1) > 2 * slots.count { grow(hashOf) }
        put(place, hash)
        count += 1
    }

    /// Another place now stands for a key that is there.
    mutating func replace(_ place: Int32, by other: Int32, _ hash: UInt64) { slots[slot(of: place, hash)] = other }

    /// Removes a key that is there, and closes the gap, so that the probing of others does not end in it.
    mutating func remove(_ place: Int32, _ hash: UInt64, hashOf: (Int32) -> UInt64) {
        var gap = slot(of: place, hash)
        count -= 1
        var next = (gap + 1) & mask
        while slots[next] >= 0 {
            let home = Int(truncatingIfNeeded: hashOf(slots[next])) & mask
            // It may move to the gap if that is between its home and where it is, going round.
            if (next - home) & mask >= (next - gap) & mask {
                slots[gap] = slots[next]
                gap = next
            }
            next = (next + 1) & mask
        }
        slots[gap] = -1
    }

    private func slot(of place: Int32, _ hash: UInt64) -> Int {
        var slot = Int(truncatingIfNeeded: hash) & mask
        while slots[slot] != place {
            precondition(slots[slot] >= 0, "the place is not in the table")
            slot = (slot + 1) & mask
        }
        return slot
    }

    private mutating func put(_ place: Int32, _ hash: UInt64) {
        var slot = Int(truncatingIfNeeded: hash) & mask
        while slots[slot] >= 0 { slot = (slot + 1) & mask }
        slots[slot] = place
    }

    private mutating func grow(_ hashOf: (Int32) -> UInt64) {
        let places = slots
        slots = [Int32](repeating: -1, count: 2 * places.count)
        for place in places where place >= 0 { put(place, hashOf(place)) }
    }
}
