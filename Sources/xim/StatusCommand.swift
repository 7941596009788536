import ArgumentParser

/// Says who this machine is; no secret.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Says as what this machine has enrolled; 1 if it has not.")

    func run() throws {
        guard let enrolment = try StateDirectory().enrolment() else {
            print("not enrolled")
            throw ExitCode(1)
        }
        print("worker   \(enrolment.workerID)")
        print("name     \(enrolment.name)")
        print("project  \(enrolment.projectID)")
        print("router   \(enrolment.routerAddresses.joined(separator: ", "))")
    }
}
