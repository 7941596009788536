/// Changes one thing about a message's parts: a byte, a length, a part.
package func damage(_ parts: inout [[UInt8]], _ generator: inout FuzzNumbers) {
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

/// SplitMix64 (https://prng.di.unimi.it/splitmix64.c): the same numbers for the same seed.
package struct FuzzNumbers: RandomNumberGenerator {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
