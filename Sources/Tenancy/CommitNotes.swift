/// Tells others what a transaction has done, once it is committed.
public typealias AfterCommit = @Sendable ([String]) -> Void

/// What is to be told when a connection comes back. It belongs to the connection's thread.
final class CommitNotes {
    private var notes: [String] = []

    func add(_ note: String) { notes.append(note) }
    func tell(_ listener: AfterCommit) { if !notes.isEmpty { listener(notes) } }
}
