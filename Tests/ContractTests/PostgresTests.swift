import Foundation
import Jobs
import Postgres
import Testing
import Threads

@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct PostgresTests {
    @Test func valuesTravelUnchanged() async throws {
        try await onThread {
            let connection = try PostgresServer.makeEmptyDatabase().connect()
            let texts = ["a", "", "q\"uo\\te", "com,ma", "{brace}", "NULL", "ü🙂'; DROP TABLE x; --"]
            let bytes = (0...255).map { UInt8($0) }
            let nothing: String? = nil
            let row = try connection.query(
                """
                SELECT \(texts[6])::text AS text, \(Int.min)::bigint AS int, \(Int64.max)::bigint AS big, \(true)::boolean AS yes,
                    \(0.1)::double precision AS double, \(bytes)::bytea AS bytes, \(nothing)::text AS nothing, \(texts)::text[] AS texts,
                    \([UInt8]())::bytea AS empty, \(json: Array(#"{"a": [1]}"#.utf8))::jsonb AS json
                """)[0]
            #expect(try row.get("text") == texts[6])
            #expect(try row.get("int") == Int.min)
            #expect(try row.get("big") == Int64.max)
            #expect(try row.get("yes") == true)
            #expect(try row.get("double") == 0.1)
            #expect(try row.get("bytes") == bytes)
            #expect(try row.get("empty", as: [UInt8].self) == [])
            #expect(try row.optional("nothing", as: String.self) == nil)
            #expect(try row.texts("texts") == texts)
            #expect(try row.get("json") == #"{"a": [1]}"#)
            #expect(throws: PostgresError.column("nothing", problem: "is NULL")) { try row.get("nothing", as: String.self) }
            #expect(throws: PostgresError.column("other", problem: "is not in the result")) { try row.get("other", as: String.self) }
            #expect(throws: PostgresError.column("text", problem: "is not a Int")) { try row.get("text", as: Int.self) }
        }
    }

    @Test func aTextWithNULIsRefusedAndTheConnectionLives() async throws {
        try await onThread {
            let connection = try PostgresServer.makeEmptyDatabase().connect()
            #expect(throws: PostgresError.invalidParameter("A text holds a NUL character.")) {
                try connection.query("SELECT \("a\0b")::text")
            }
            #expect(try connection.query("SELECT 1 AS one")[0].get("one") == 1)
        }
    }

    @Test func errorsCarryStateAndConstraint() async throws {
        try await onThread {
            let connection = try PostgresServer.makeEmptyDatabase().connect()
            try connection.execute("CREATE TABLE t (id int CONSTRAINT only_once UNIQUE); INSERT INTO t VALUES (1)")
            let error = #expect(throws: PostgresError.self) { try connection.query("INSERT INTO t VALUES (\(1))") }
            guard case .server(let message)? = error else { return }
            #expect(message.sqlState == "23505" && message.constraint == "only_once")
            #expect(#expect(throws: PostgresError.self) { try connection.query("SELEC") }?.sqlState == "42601")
            #expect(#expect(throws: PostgresError.self) { try connection.execute("SELECT 1; SELECT 1/0") }?.sqlState == "22012")
            #expect(try connection.query("SELECT count(*) AS n FROM t")[0].get("n") == 1)
        }
    }

    @Test func aTransactionIsRolledBackByWhatItsBodyThrows() async throws {
        struct Stop: Error {}
        try await onThread {
            let connection = try PostgresServer.makeEmptyDatabase().connect()
            try connection.execute("CREATE TABLE t (id int)")
            #expect(throws: Stop.self) {
                try connection.transaction {
                    try connection.query("INSERT INTO t VALUES (1)")
                    throw Stop()
                }
            }
            // A swallowed failure must not look like a commit.
            #expect(throws: PostgresError.self) {
                try connection.transaction {
                    try connection.query("INSERT INTO t VALUES (1)")
                    _ = try? connection.query("SELECT 1/0")
                }
            }
            #expect(try connection.query("SELECT * FROM t").isEmpty)
            try connection.transaction { _ = try connection.query("INSERT INTO t VALUES (1)") }
            #expect(try connection.query("SELECT * FROM t").count == 1)
        }
    }

    @Test func aTransactionInsideOfOneIsAPartOfIt() async throws {
        struct Stop: Error {}
        try await onThread {
            let connection = try PostgresServer.makeEmptyDatabase().connect()
            try connection.execute("CREATE TABLE t (id int)")
            func part(_ id: Int, failing: Bool = false) throws {
                try connection.transaction {
                    try connection.query("INSERT INTO t VALUES (\(id)::int)")
                    if failing { throw Stop() }
                }
            }
            func ids() throws -> [Int] { try connection.query("SELECT id FROM t ORDER BY id").map { try $0.get("id") } }
            #expect(throws: Stop.self) {
                try connection.transaction {
                    try part(1)
                    try part(2, failing: true)
                }
            }
            // Nor does a half stay where the failure of a part is swallowed.
            #expect(throws: PostgresError.self) {
                try connection.transaction {
                    try? part(1, failing: true)
                    try part(2)
                }
            }
            #expect(try ids() == [])
            try connection.transaction {
                try part(1)
                try part(2)
            }
            #expect(try ids() == [1, 2])
        }
    }

    @Test func theEndOfATransactionIsCommittedWithItOrNothingIs() async throws {
        try await onThread {
            let connection = try PostgresServer.makeEmptyDatabase().connect()
            try connection.execute("CREATE TABLE t (id int PRIMARY KEY)")
            func insert(_ id: Int) -> SQL { "INSERT INTO t VALUES (\(id)::int)" }
            func ids() throws -> [Int] { try connection.query("SELECT id FROM t ORDER BY id").map { try $0.get("id") } }
            let value = try connection.transaction {
                try connection.query(insert(1))
                return 2
            } last: {
                [insert($0), insert($0 + 1)]
            }
            #expect(try value == 2 && ids() == [1, 2, 3])
            let error = #expect(throws: PostgresError.self) {
                try connection.transaction {
                    _ = try connection.query(insert(4))
                } last: {
                    [insert(3), insert(5)]
                }
            }
            #expect(error?.sqlState == "23505")
            #expect(try ids() == [1, 2, 3])
            // Together they are all or none, too.
            #expect(throws: PostgresError.self) { try connection.query(together: [insert(6), insert(3)]) }
            #expect(try connection.query(together: [insert(7), "SELECT count(*) AS n FROM t"])[0].get("n") == 4)
        }
    }

    @Test func hugeValuesAndManyRowsArrive() async throws {
        try await onThread {
            // Beside other tests the server may take a while for so much.
            let connection = try PostgresServer.makeEmptyDatabase().connect {
                $0.statementTimeoutMilliseconds = 60_000
                $0.silenceMilliseconds = 120_000
            }
            let size = 64 << 20
            let text: [UInt8] = try connection.query("SELECT repeat('x', \(size)::int) AS text")[0].get("text")
            #expect(text.count == size && text.allSatisfy { $0 == UInt8(ascii: "x") })
            #expect(try connection.query("SELECT generate_series(1, 200000) AS n").count == 200_000)
            #expect(try connection.query("SELECT octet_length(\([UInt8](repeating: 7, count: size))::bytea) AS n")[0].get("n") == size)
        }
    }

    @Test func timeLimitsHoldOnTheServerAndWithoutIt() async throws {
        try await onThread {
            let database = try PostgresServer.makeEmptyDatabase()
            let connection = try database.connect { $0.statementTimeoutMilliseconds = 100 }
            #expect(#expect(throws: PostgresError.self) { try connection.query("SELECT pg_sleep(5)") }?.sqlState == "57014")
            #expect(try connection.query("SELECT 1 AS one")[0].get("one") == 1)

            let proxy = try CuttingProxy(target: PostgresServer.socketPath())
            defer { proxy.close() }
            var options = ConnectionOptions()
            options.statementTimeoutMilliseconds = 100
            options.silenceMilliseconds = 200
            let url = try PostgresServer.conninfo(database: database.name, directory: proxy.directory)
            let silent = try Connection(url: url, options: options)
            proxy.set(.stall)
            let start = ContinuousClock.now
            #expect(#expect(throws: PostgresError.self) { try silent.query("SELECT 1") }?.isOutcomeUnknown == true)
            #expect(ContinuousClock.now - start < .seconds(2))
            options.connectTimeoutSeconds = 2
            #expect(#expect(throws: PostgresError.self) { try Connection(url: url, options: options) }?.isUnavailable == true)
            #expect(ContinuousClock.now - start < .seconds(6))
        }
    }

    @Test func aRunningStatementCanBeCancelled() async throws {
        try await onThread {
            let connection = try PostgresServer.makeEmptyDatabase().connect()
            let canceller = try #require(connection.canceller())
            startThread("cancel") {
                usleep(100_000)
                canceller.cancel()
            }
            #expect(#expect(throws: PostgresError.self) { try connection.query("SELECT pg_sleep(5)") }?.sqlState == "57014")
            #expect(try connection.query("SELECT 1 AS one")[0].get("one") == 1)
        }
    }

    @Test func signalsDoNotDisturbACall() async throws {
        try await onThread {
            var action = sigaction()
            action.__sigaction_handler.sa_handler = ignoreSignal
            sigaction(SIGUSR2, &action, nil)
            let connection = try PostgresServer.makeEmptyDatabase().connect()
            let thread = pthread_self()
            let isOver = Monitor(false)
            let ended = DispatchSemaphore(value: 0)
            startThread("signals") {
                while !isOver.withLock({ $0 }) {
                    pthread_kill(thread, SIGUSR2)
                    usleep(200)
                }
                ended.signal()
            }
            for _ in 0..<20 { try connection.query("SELECT pg_sleep(0.01), repeat('x', 100000)") }
            isOver.withLock { $0 = true }
            ended.wait()
        }
    }

    @Test func aBrokenConnectionIsReplacedAndALostOneNamed() async throws {
        try await onThread {
            let database = try PostgresServer.makeEmptyDatabase()
            let pool = database.pool(size: 1)
            let first: Int = try pool.withConnection { try $0.query("SELECT pg_backend_pid() AS pid")[0].get("pid") }
            // Ended while it lay idle: nobody notices.
            try database.connect().query("SELECT pg_terminate_backend(\(first)::int)")
            usleep(50_000)
            let second: Int = try pool.withConnection { try $0.query("SELECT pg_backend_pid() AS pid")[0].get("pid") }
            #expect(second != first)
            // Ended while it worked: the outcome is unknown, and the next caller gets another one.
            startThread("kill") {
                usleep(100_000)
                _ = try? database.connect().query("SELECT pg_terminate_backend(\(second)::int)")
            }
            #expect(
                #expect(throws: PostgresError.self) { try pool.withConnection { try $0.query("SELECT pg_sleep(5)") } }?.isOutcomeUnknown
                    == true)
            #expect(try pool.withConnection { try $0.query("SELECT 1 AS one")[0].get("one") } == 1)
        }
    }

    @Test func aServerThatIsGoneIsNamedAndFoundAgain() async throws {
        try await onThread {
            let database = try PostgresServer.makeEmptyDatabase()
            let proxy = try CuttingProxy(target: PostgresServer.socketPath())
            defer { proxy.close() }
            let pool = Database(url: try PostgresServer.conninfo(database: database.name, directory: proxy.directory), size: 2)
            try pool.withConnection { _ = try $0.query("SELECT 1") }
            proxy.set(.refuse)
            proxy.cut()
            usleep(20_000)
            let error = #expect(throws: PostgresError.self) { try pool.withConnection { try $0.query("SELECT 1") } }
            if case .cannotConnect? = error {} else { Issue.record("\(String(describing: error))") }
            proxy.set(.forward)
            #expect(try pool.withConnection { try $0.query("SELECT 1 AS one")[0].get("one") } == 1)
        }
    }

    @Test func aFullPoolMakesCallersWaitThenRefuses() async throws {
        try await onThread {
            let database = try PostgresServer.makeEmptyDatabase()
            let pool = database.pool(size: 2, waitMilliseconds: 100)
            let refused = Monitor(0)
            onThreads(6) { _ in
                do {
                    try pool.withConnection { _ = try $0.query("SELECT pg_sleep(0.3)") }
                } catch PostgresError.poolExhausted {
                    refused.withLock { $0 += 1 }
                } catch {
                    Issue.record(error)
                }
            }
            #expect(refused.withLock { $0 } == 4)
            let patient = database.pool(size: 2, waitMilliseconds: 5_000)
            onThreads(50) { _ in
                do { try patient.withConnection { _ = try $0.query("SELECT pg_sleep(0.001)") } } catch { Issue.record(error) }
            }
            let count: Int = try database.connect().query("SELECT count(*) AS n FROM pg_stat_activity WHERE datname = \(database.name)")[0]
                .get("n")
            #expect(count <= 5)
        }
    }

    @Test func aConnectionLeftInATransactionIsNotLentAgain() async throws {
        try await onThread {
            let pool = try PostgresServer.makeEmptyDatabase().pool(size: 1)
            try pool.withConnection { try $0.execute("BEGIN; SELECT pg_current_xact_id()") }
            let level: Int? = try pool.withConnection {
                try $0.query("SELECT pg_current_xact_id_if_assigned()::text AS id")[0].optional("id")
            }
            #expect(level == nil)
        }
    }
}

private func ignoreSignal(_ number: Int32) {}
