import Threads
import Foundation
import Logging

/// The files in which commits wait while Postgres is away.
///
/// One thread appends, another takes files away to replay them.
struct Journal: Sendable {
    private let directory: String
    private let process: String
    /// The file that is appended to, made with the first commit of an outage.
    private let active = Monitor<ActiveFile>(ActiveFile())

    private struct ActiveFile { var file: JournalFile? }

    /// - Parameter process: a name for this process' files, such as `gateway-0`.
    init(directory: String, process: String) throws {
        self.directory = directory
        self.process = process
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    /// Returns when all commits are on the disk; one synchronisation serves all.
    func append(_ commits: [Commit]) throws {
        try active.withLock { active in
            let file = try active.file ?? JournalFile(newIn: directory, process: process)
            active.file = file
            try file.append(commits.flatMap(JournalLine.encode))
        }
    }

    var isEmpty: Bool { active.withLock { $0.file == nil } }

    /// Paths of files that wait, whoever owns them.
    func paths() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: directory).filter { $0.hasSuffix(".jsonl") }.sorted().map { "\(directory)/\($0)" }
    }

    /// Takes the active file away, if there is one; later commits start another.
    func takeActive(into waiting: inout [JournalFile]) {
        let file: JournalFile? = active.withLock { active in
            nonisolated(unsafe) let file = active.file
            active.file = nil
            return file
        }
        if let file { waiting.append(file) }
    }

    /// Gives the active file up, so that another process replays it.
    func release() { active.withLock { $0.file = nil } }
}
