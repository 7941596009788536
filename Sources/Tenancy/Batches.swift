/// Does something that is done so many at a time, so that no transaction is long, until fewer come.
/// - Parameter batch: does at most so many, and says how many it has done.
/// - Returns: how many they were together.
@discardableResult
public func inBatches(of size: Int, _ batch: (_ most: Int) throws -> Int) rethrows -> Int {
    var total = 0
    while true {
        let count = try batch(size)
        total += count
        if count < size { return total }
    }
}
