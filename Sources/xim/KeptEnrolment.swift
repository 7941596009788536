import Threads

/// The agent's enrolment while it runs. A change is in the state file before anybody sees it.
final class KeptEnrolment: Sendable {
    private let enrolment: Lock<Enrolment>
    private let state: StateDirectory

    init(_ enrolment: Enrolment, in state: StateDirectory) {
        self.enrolment = Lock(enrolment)
        self.state = state
    }

    var now: Enrolment { enrolment.withLock { $0 } }

    /// - Throws: `AgentProblem` where the file cannot be written; nothing has changed then.
    func change(_ body: (inout Enrolment) -> Void) throws {
        try enrolment.withLock { enrolment in
            var new = enrolment
            body(&new)
            guard new != enrolment else { return }
            try state.save(new)
            enrolment = new
        }
    }
}
