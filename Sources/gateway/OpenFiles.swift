import ArgumentParser
import Foundation
import Glibc

/// The limit of open files; see getrlimit(2).
enum OpenFiles {
    /// A streaming request holds its connection, its upstream's, and the two ends with which libcurl wakes itself; one that waits for its turn, an
    /// eventfd.
    private static let perThread: rlim_t = 4
    /// Pools, logs, the journal, the listening sockets.
    private static let reserve: rlim_t = 256

    /// Raises the soft limit to the hard one, and refuses to go on with one that busy threads would exceed.
    static func raise(forThreads threads: Int) throws {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        let needed = rlim_t(threads) * perThread + reserve
        guard limit.rlim_max >= needed else {
            let message = "gateway: \(limit.rlim_max) open files are allowed (ulimit -Hn), gateway.streams needs \(needed)\n"
            FileHandle.standardError.write(Data(message.utf8))
            throw ExitCode(EX_CONFIG)
        }
    }
}
