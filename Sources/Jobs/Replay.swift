import Logging
import Postgres

/// Writes journals into Postgres, each commit once, and removes them.
///
/// It belongs to one thread. Files that could not be finished wait for the next call.
struct Replay {
    let journal: Journal
    let statements: [String: CommitStatement]
    let logger: Logger
    private var waiting: [JournalFile] = []

    private static let batchSize = 500

    struct Outcome {
        var replayed = 0
        var refused = 0
    }

    init(journal: Journal, statements: [String: CommitStatement], logger: Logger) {
        self.journal = journal
        self.statements = statements
        self.logger = logger
    }

    /// Files of processes that are gone.
    mutating func adoptLeftovers() {
        do {
            waiting += try journal.paths().compactMap(JournalFile.init(adopting:))
        } catch {
            logger.error("cannot read the journal directory", metadata: ["error": "\(error)"])
        }
    }

    /// Replays what this process and dead ones have written.
    /// - Throws: `PostgresError` when the database is away again.
    mutating func run(with writer: inout BatchWriter) throws -> Outcome {
        journal.takeActive(into: &waiting)
        var outcome = Outcome()
        while let file = waiting.first {
            try replay(file, with: &writer, &outcome)
            waiting.removeFirst()
        }
        return outcome
    }

    private func replay(_ file: JournalFile, with writer: inout BatchWriter, _ outcome: inout Outcome) throws {
        do {
            let (commits, damaged) = read(try file.contents(), of: file.path)
            var refused = 0
            for start in stride(from: 0, to: commits.count, by: Self.batchSize) {
                let batch = commits[start..<min(start + Self.batchSize, commits.count)]
                for (_, error) in try writer.write(batch, isReplay: true) {
                    refused += 1
                    logger.error("a journaled commit was refused", metadata: ["file": "\(file.path)", "error": "\(error)"])
                }
            }
            outcome.replayed += commits.count - refused
            outcome.refused += refused + damaged
            // What could not be written stays for the operator; the rest of the file is harmless, twice equals once.
            if refused + damaged > 0 { try file.setAside() } else { try file.remove() }
        } catch let error as JournalError {
            logger.error("a journal file cannot be handled", metadata: ["file": "\(file.path)", "error": "\(error)"])
        }
    }

    /// A torn last line was never acknowledged, so it is only noted.
    private func read(_ contents: [UInt8], of path: String) -> (commits: [Commit], damaged: Int) {
        var commits: [Commit] = []
        var damaged = 0
        let lines = contents.split(separator: UInt8(ascii: "\n"))
        for (number, line) in lines.enumerated() {
            do {
                if let commit = try JournalLine.decode(line, statements: statements) {
                    commits.append(commit)
                } else if number == lines.count - 1 {
                    logger.warning("the last line of a journal is torn", metadata: ["file": "\(path)"])
                } else {
                    damaged += 1
                    logger.error("a line of a journal is damaged", metadata: ["file": "\(path)", "line": "\(number + 1)"])
                }
            } catch {
                damaged += 1
                logger.error(
                    "a line of a journal cannot be used", metadata: ["file": "\(path)", "line": "\(number + 1)", "error": "\(error)"])
            }
        }
        return (commits, damaged)
    }
}
