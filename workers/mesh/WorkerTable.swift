import Mesh
import Routing

/// All workers that have been here, in one array as the choice wants them. Who has left stays, without a lease, until it is revoked or long gone: what
/// was learnt of it is good when it comes back.
struct WorkerTable {
    private(set) var all: [Worker] = []
    private var places: [String: Int] = [:]
    private var freeSlots: [Int] = []
    private var nextSlot = 0

    subscript(id: String) -> Worker? { places[id].map { all[$0] } }

    /// Changes one where it stands; nothing happens to one that is not there.
    mutating func change(_ id: String, _ body: (inout Worker) -> Void) {
        if let place = places[id] { body(&all[place]) }
    }

    /// - Returns: its slot in the prefix index.
    mutating func add(_ id: String, _ make: (_ slot: Int) -> Worker) -> Int {
        if let place = places[id] { return all[place].slot }
        let slot = freeSlots.popLast() ?? nextSlot
        if slot == nextSlot { nextSlot += 1 }
        places[id] = all.count
        all.append(make(slot))
        return slot
    }

    mutating func remove(_ id: String) {
        guard let place = places.removeValue(forKey: id) else { return }
        freeSlots.append(all[place].slot)
        let last = all.removeLast()
        guard place < all.count else { return }
        all[place] = last
        places[last.id] = place
    }
}
