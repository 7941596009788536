import ArgumentParser
import HTTPClient
import Supervision

/// Says who this machine is, and whether its agent is connected; no secret.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Says as what this machine has enrolled, and whether its agent is connected; 1 if it has not enrolled.")

    func run() throws {
        guard let enrolment = try StateDirectory().enrolment() else {
            print("not enrolled")
            throw ExitCode(1)
        }
        print("worker   \(enrolment.workerID)")
        print("name     \(enrolment.name)")
        print("project  \(enrolment.projectID ?? "none; the operator's")")
        print("router   \(enrolment.routerAddresses.joined(separator: ", "))")
        let settings = try SettingSource(flags: [:]).settings()
        guard let port = settings.metricsPort else { return }
        print("mesh     \(Self.connection(at: "http://\(settings.metricsAddress):\(port)/healthz"))")
    }

    private static func connection(at url: String) -> String {
        let transfer = HTTPClient().start(HTTPRequest(.get, url, headers: HTTPHeaders([])))
        let end = ContinuousClock.now + .seconds(3)
        while true {
            switch transfer.next(until: end) {
            case .head(let head): return head.status == 200 ? "connected" : "not connected"
            case .failed, .timedOut, .finished: return "the agent does not run"
            case .body, .extraDescriptorReady: continue
            }
        }
    }
}
