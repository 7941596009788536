import Accounts
import ArgumentParser
import Billing
import Configuration
import Dispatch
import Foundation
import Jobs
import Logging
import OpenAI
import Tenancy
import Threads

/// Settles made-up requests through a committer as a gateway's threads do, and prints one JSON object about it. For a database of its own: what
/// it writes stays.
@main
struct LedgerBench: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "ledger-bench")

    @Option(help: "Threads that settle, one request at a time each.") var threads = 64
    @Option(help: "Requests altogether.") var requests = 20_000
    @Option(help: "Projects that they are of.") var projects = 1
    @Option(help: "Milliseconds that a thread does something else between two requests.") var think = 0.0
    @Flag(help: "Requests that cost nothing: usage rows alone.") var free = false
    @Flag(help: "Only measure the memory of so many commits that wait.") var memory = false

    private static let cost: Int64 = 303_000
    private static let held: Int64 = 2_500_000

    private struct Account {
        let project: ID<Project>
        let lease: ID<CreditHold>
    }

    func run() throws {
        if memory { return try measureMemory() }
        let configuration = try Configuration.load()
        let database = SystemDatabase(url: configuration.databaseURL, size: 4)
        let accounts = try (0..<projects).map { try account("bench-\($0)", database) }
        let journal = FileManager.default.temporaryDirectory.path + "/ledger-bench-\(UInt32.random(in: 0...UInt32.max))"
        defer { try? FileManager.default.removeItem(atPath: journal) }
        var logger = Logger(label: "ledger-bench") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = .error
        let committer = try Committer(
            database: database, journalDirectory: journal, process: "bench-0", statements: UsageEvent.statements, logger: logger)
        let failures = Lock(0)
        let latencies = Lock<[Double]>([])
        let (perThread, group, start) = (requests / threads, DispatchGroup(), ContinuousClock.now)
        for thread in 0..<threads {
            group.enter()
            startThread("settler") {
                var own: [Double] = []
                for number in 0..<perThread {
                    let account = accounts[(thread &+ number) % accounts.count]
                    let row = event(of: account).commitRow(hold: free ? nil : account.lease, held: free ? 0 : Self.held)
                    let began = ContinuousClock.now
                    do { try committer.commit(Commit(rows: [row])) } catch { failures.withLock { $0 += 1 } }
                    own.append((ContinuousClock.now - began) / .milliseconds(1))
                    if think > 0 { usleep(useconds_t(think * 1_000)) }
                }
                let all = own
                latencies.withLock { $0 += all }
                group.leave()
            }
        }
        group.wait()
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let metrics = committer.metrics
        committer.shutdown()
        for account in accounts { try Ledger(database: database).release(account.lease) }
        let sorted = latencies.withLock { $0.sorted() }
        print(
            """
            {"settled": \(metrics.committed), "failed": \(failures.withLock { $0 }), "seconds": \(seconds), \
            "transactions": \(metrics.transactions), "p50_ms": \(sorted[sorted.count / 2]), "p99_ms": \(sorted[sorted.count * 99 / 100])}
            """)
    }

    /// A project with credit and a lease that covers all of its requests.
    private func account(_ slug: String, _ database: SystemDatabase) throws -> Account {
        let project = try database.withConnection { try $0.setProject(slug: slug, name: nil, by: .system("bench")).id }
        let ledger = Ledger(database: database)
        _ = try ledger.post(
            LedgerPosting(.grant, of: 1_000_000_000_000_000, to: project, key: "grant:\(slug)", author: "ledger-bench", isManual: false))
        let lease = ID<CreditHold>.random()
        let want = Int64(requests) * Self.held
        let grant = try ledger.hold(
            lease, kind: .lease, of: project, gateway: "bench-0", want: want, atLeast: want, key: "bench:\(lease)")
        guard grant.granted == want else { throw ValidationError("\(slug) has spent its credit: use a new database.") }
        return Account(project: project, lease: lease)
    }

    private func event(of account: Account) -> UsageEvent {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        // As nginx makes them.
        let random = String(UInt64.random(in: 0...UInt64.max), radix: 16) + String(UInt64.random(in: 0...UInt64.max), radix: 16)
        let id = "req_" + (String(repeating: "0", count: 24) + random).suffix(24)
        var event = UsageEvent(
            id: id, projectID: account.project, requestID: id, surface: .chat, tier: "demo", isStream: true,
            priceNanoPerMtok: 1_000_000_000,
            createdAtMicroseconds: Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_nsec) / 1_000)
        event.endpointSlug = "bench"
        event.modelName = "llama-3.1-8b-instruct"
        event.modelVersion = "latest"
        event.workerID = "upstream:ep_0123456789abcdefghijklmn"
        event.inputTokens = 101
        event.outputTokens = 202
        event.costNano = free ? 0 : Self.cost
        event.finishReason = "stop"
        event.timeToFirstTokenMilliseconds = 12
        event.latencyMilliseconds = 345
        return event
    }

    /// What the commits of a full queue weigh.
    private func measureMemory() throws {
        let account = Account(project: .random(), lease: .random())
        var waiting: [Commit] = []
        let before = residentBytes()
        for _ in 0..<requests { waiting.append(Commit(rows: [event(of: account).commitRow(hold: account.lease, held: Self.held)])) }
        print("{\"commits\": \(waiting.count), \"bytes\": \(residentBytes() - before)}")
    }

    private func residentBytes() -> Int {
        let fields = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?.split(separator: " ") ?? []
        return (fields.count > 1 ? Int(fields[1]) ?? 0 : 0) * Int(sysconf(Int32(_SC_PAGESIZE)))
    }
}
