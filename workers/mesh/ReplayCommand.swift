import Agents
import ArgumentParser
import Worker

/// Makes stored choices again.
struct ReplayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay", abstract: "Makes stored choices again, from what they were drawn from, and says how many came out the same.",
        discussion: "Reads database.url. Ends with 1 where one came out otherwise.")

    @Option(help: "So many of the newest.")
    var most = 10_000

    @Option(help: "Those of one request.")
    var request: String?

    func run() throws {
        let process = try WorkerProcess("mesh-replay", connections: 1)
        let decisions = try process.database.withConnection { try $0.routingDecisions(most: most, of: request) }
        var others = 0
        for decision in decisions {
            guard let again = decision.again, again == (decision.worker, decision.isExploration) else {
                others += 1
                print(
                    "\(decision.request) attempt \(decision.attempt): \(decision.worker), and \(decision.again?.worker ?? "nobody") again")
                continue
            }
        }
        print("\(decisions.count) decisions, \(decisions.count - others) the same again")
        if others > 0 { throw ExitCode(1) }
    }
}
