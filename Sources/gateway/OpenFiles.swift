import ArgumentParser
import Foundation
import Glibc
import Threads

extension OpenFiles {
    /// A streaming request holds its connection, its upstream's, and the two ends with which libcurl wakes itself; one that waits for its turn, an
    /// eventfd.
    private static let perThread: UInt = 4
    /// Pools, logs, the journal, the listening sockets.
    private static let reserve: UInt = 256

    /// Raises the soft limit to the hard one, and refuses to go on with one that busy threads would exceed.
    static func raise(forThreads threads: Int) throws {
        let allowed = raise()
        let needed = UInt(threads) * perThread + reserve
        guard allowed >= needed else {
            let message = "gateway: \(allowed) open files are allowed (ulimit -Hn), gateway.streams needs \(needed)\n"
            FileHandle.standardError.write(Data(message.utf8))
            throw ExitCode(EX_CONFIG)
        }
    }
}
