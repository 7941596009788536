import Accounts
import Catalog
import Crypto
import Foundation
import HTTPClient
import OpenAI
import Postgres
import Server
import Tenancy
import Testing

@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct AuditTests {
    static func newKey(_ name: String = "k") -> NewKey { NewKey(name: name, scopes: [.inference]) }

    /// What an intruder with the owner's rights does: the triggers off, a statement, the triggers on.
    static func tamper(_ database: TestDatabase, _ statement: String) throws {
        let owner = try database.connect()
        try owner.execute(
            "ALTER TABLE audit_log DISABLE TRIGGER USER; \(statement); ALTER TABLE audit_log ENABLE TRIGGER USER")
    }

    @Test func twentyWritersNeverForkTheChain() async throws {
        try await onThread {
            let database = try PostgresServer.makeDatabase()
            let project = try database.makeProject("acme")
            let other = try database.makeProject("other")
            let tenants = database.tenants(size: 20)
            onThreads(20) { number in
                for turn in 0..<10 {
                    do {
                        let id = number.isMultiple(of: 5) ? other.id : project.id
                        _ = try tenants.withConnection(of: id) { try $0.createKey(Self.newKey("\(number)-\(turn)"), by: tester) }
                    } catch { Issue.record(error) }
                }
            }
            let verdict = try database.system().withConnection { try $0.verifyAudit() }
            #expect(verdict == AuditVerdict(chains: 2, rows: 202, faults: []))
            let rows = try database.connect().query(
                "SELECT project_id, max(seq) AS last, count(DISTINCT prev_hash) AS links, count(*) AS rows FROM audit_log GROUP BY project_id"
            )
            for row in rows {
                let (count, last, links): (Int, Int, Int) = try (row.get("rows"), row.get("last"), row.get("links"))
                #expect(last == count && links == count)
            }
        }
    }

    @Test(arguments: [
        ("UPDATE audit_log SET action = 'key.revoke' WHERE seq = 3", "altered", 3),
        ("UPDATE audit_log SET at = at + interval '1 microsecond' WHERE seq = 2", "altered", 2),
        ("UPDATE audit_log SET after = after || '{\"name\": \"x\"}' WHERE seq = 4", "altered", 4),
        ("UPDATE audit_log SET hash = sha256('x') WHERE seq = 4", "altered", 4),
        ("DELETE FROM audit_log WHERE seq = 3", "missing", 3), ("DELETE FROM audit_log WHERE seq = 1", "missing", 1),
        ("DELETE FROM audit_log WHERE seq = 6", "missing", 6), ("DELETE FROM audit_log", "missing", 1),
        (
            "UPDATE audit_log SET seq = CASE seq WHEN 2 THEN 103 WHEN 3 THEN 2 ELSE seq END; UPDATE audit_log SET seq = 3 WHERE seq = 103",
            "altered", 2
        ),
        // Removed, and all that follows counted down and hashed anew: the head still knows.
        (
            """
            DELETE FROM audit_log WHERE seq = 5; UPDATE audit_log SET seq = 5 WHERE seq = 6;
            UPDATE audit_log a SET prev_hash = (SELECT hash FROM audit_log b WHERE b.seq = 4) WHERE seq = 5;
            UPDATE audit_log a SET hash = sha256(prev_hash || convert_to(audit_canonical(a), 'UTF8')) WHERE seq = 5
            """, "missing", 6
        ),
        // Altered and hashed anew, in the middle and at the end: what follows still names the hash of before.
        (
            """
            UPDATE audit_log SET action = 'key.revoke' WHERE seq = 3;
            UPDATE audit_log a SET hash = sha256(prev_hash || convert_to(audit_canonical(a), 'UTF8')) WHERE seq = 3
            """, "unlinked", 4
        ),
        (
            """
            UPDATE audit_log SET action = 'key.revoke' WHERE seq = 6;
            UPDATE audit_log a SET hash = sha256(prev_hash || convert_to(audit_canonical(a), 'UTF8')) WHERE seq = 6
            """, "unlinked", 7
        ),
        ("DELETE FROM audit_heads", "unlinked", 1),
    ])
    func tamperingIsFound(statement: String, problem: String, place: Int) async throws {
        try await onThread {
            let database = try PostgresServer.makeDatabase()
            let project = try database.makeProject("acme")
            for number in 1...5 { _ = try project.withConnection { try $0.createKey(Self.newKey("\(number)"), by: tester) } }
            let system = database.system()
            #expect(try system.withConnection { try $0.verifyAudit(of: project.id) } == AuditVerdict(chains: 1, rows: 6, faults: []))
            try Self.tamper(database, statement)
            let faults = try system.withConnection { try $0.verifyAudit(of: project.id) }.faults
            #expect(faults.first == AuditVerdict.Fault(chain: project.id.description, seq: place, problem: problem), "\(faults)")
            let all = try system.withConnection { try $0.verifyAudit() }
            #expect(all.faults == faults)
        }
    }

    @Test func nobodyChangesTheLog() async throws {
        try await onThread {
            let database = try PostgresServer.makeDatabase()
            let project = try database.makeProject("acme")
            let other = try database.makeProject("other")
            let statements: [SQL] = [
                "UPDATE audit_log SET action = 'a.b'", "DELETE FROM audit_log", "TRUNCATE audit_log", "UPDATE audit_heads SET seq = 0",
                "DELETE FROM audit_heads", "ALTER TABLE audit_log DISABLE TRIGGER USER",
                "WITH trim AS MATERIALIZED (SELECT set_config('xerotier.trims_audit', 'yes', true)) DELETE FROM audit_log",
            ]
            for statement in statements {
                #expect(throws: (any Error).self) { try project.withConnection { try $0.query(statement) } }
                #expect(throws: (any Error).self) { try database.system().withConnection { try $0.query(statement) } }
            }
            let owner = try database.connect()
            for statement in statements[..<3] {
                #expect(throws: PostgresError.self) { try owner.query(statement) }
            }
            // A row for another project is refused, and those of others are not seen.
            #expect(throws: PostgresError.self) {
                try project.withConnection {
                    try $0.query(
                        """
                        INSERT INTO audit_log (id, project_id, actor_type, actor_id, action, target_type, target_id)
                        VALUES (\(ID<AuditRecord>.random()), \(other.id), 'system', 'x', 'a.b', 'c', 'd')
                        """)
                }
            }
            let seen = try project.withConnection { try $0.query("SELECT 1 FROM audit_log") }
            #expect(seen.count == 1)
            let verdict = try database.system().withConnection { try $0.verifyAudit() }
            #expect(verdict == AuditVerdict(chains: 2, rows: 2, faults: []))
        }
    }

    @Test func linesGoByMonthsAfterFourHundredDaysAndTheRestCanBeVerified() async throws {
        try await onThread {
            let database = try PostgresServer.makeDatabase()
            let project = try database.makeProject("acme")
            _ = try database.makeProject("other")
            for number in 1...6 { _ = try project.withConnection { try $0.createKey(Self.newKey("\(number)"), by: tester) } }
            let system = database.system()
            func trim(days: Int, most: Int = 100) throws -> Int {
                let rows = try database.connect().query("SELECT extract(epoch FROM min(at))::bigint AS first FROM audit_log")
                let first: Int = try rows[0].get("first")
                return try system.withConnection { try $0.trimAudit(now: first + days * 86_400, most: most) }
            }
            func verdict() throws -> AuditVerdict { try system.withConnection { try $0.verifyAudit() } }
            // The month of a line is kept as a whole.
            #expect(try trim(days: 400) == 0)
            #expect(try trim(days: 440, most: 3) == 3)
            #expect(try verdict() == AuditVerdict(chains: 2, rows: 5, faults: []))
            #expect(try inBatches(of: 3) { try trim(days: 440, most: $0) } == 5)
            #expect(try verdict() == AuditVerdict(chains: 2, rows: 0, faults: []))
            // A chain of which all is gone goes on. What somebody removes from it is missed, and the rest stays as evidence.
            for number in 7...9 { _ = try project.withConnection { try $0.createKey(Self.newKey("\(number)"), by: tester) } }
            #expect(try verdict() == AuditVerdict(chains: 2, rows: 3, faults: []))
            try Self.tamper(database, "DELETE FROM audit_log WHERE seq = 9")
            let missing = AuditVerdict.Fault(chain: project.id.description, seq: 9, problem: "missing")
            #expect(try verdict().faults == [missing])
            #expect(try trim(days: 440) == 0)
            #expect(try verdict() == AuditVerdict(chains: 2, rows: 2, faults: [missing]))
        }
    }

    @Test func aRowThatComesWithHashesOfItsOwnGetsTheTrueOnes() async throws {
        try await onThread {
            let database = try PostgresServer.makeDatabase()
            let project = try database.makeProject("acme")
            try project.withConnection {
                _ = try $0.query(
                    """
                    INSERT INTO audit_log (id, project_id, seq, at, actor_type, actor_id, action, target_type, target_id, prev_hash, hash)
                    VALUES (\(ID<AuditRecord>.random()), \(project.id), 7, '2020-01-01', 'system', 'x', 'a.b', 'c', 'd', sha256('x'), sha256('y'))
                    """)
            }
            #expect(try database.system().withConnection { try $0.verifyAudit() } == AuditVerdict(chains: 1, rows: 2, faults: []))
        }
    }

    @Test func eachWriteHasOneLineAndARefusedOneNone() async throws {
        try await onThread {
            let database = try PostgresServer.makeDatabase()
            let project = try database.makeProject("acme")
            func actions() throws -> [String] {
                try database.connect().query("SELECT action FROM audit_log WHERE project_id = \(project.id) ORDER BY seq").map {
                    try $0.get("action")
                }
            }
            let key = try project.withConnection { try $0.createKey(Self.newKey(), by: tester) }
            try project.withConnection { connection in
                _ = try connection.updateKey(key.id, to: KeyChange(name: "new"), by: tester)
                _ = try connection.rotateKey(key.id, grace: 60, by: tester)
                _ = try connection.setIPFilter(IPFilterRules(allow: ["10.0.0.0/8"]), on: key.id, by: tester)
                _ = try connection.setQuota(KeyQuota(requests: 5, windowSeconds: 60), on: key.id, by: tester)
                try connection.revokeKey(key.id, by: tester)
            }
            let expected = ["project.create", "key.create", "key.update", "key.rotate", "key.ip_filter", "key.quota", "key.revoke"]
            #expect(try actions() == expected)
            // Nothing is changed, so nothing is noted: no such key, wider scopes, a past expiry, a bad filter, an unchanged project.
            try project.withConnection { connection in
                let second = try connection.createKey(Self.newKey(), by: tester)
                #expect(throws: AccountError.noSuchKey) { try connection.revokeKey(key.id, by: tester) }
                #expect(throws: APIError.self) {
                    try connection.updateKey(second.id, to: KeyChange(scopes: [.inference, .management]), by: tester)
                }
                #expect(throws: APIError.self) { try connection.updateKey(second.id, to: KeyChange(expiry: .at(1)), by: tester) }
                #expect(throws: APIError.self) {
                    try connection.setIPFilter(IPFilterRules(allow: ["10.0.0.1/8"]), on: second.id, by: tester)
                }
            }
            _ = try database.system().withConnection { try $0.setProject(slug: "acme", name: nil, by: tester) }
            #expect(try actions() == expected + ["key.create"])
        }
    }

    @Test func noSecretIsInTheLog() async throws {
        try await onThread {
            let database = try PostgresServer.makeDatabase()
            let project = try database.makeProject("acme")
            let key = try project.withConnection { try $0.createKey(Self.newKey(), by: tester) }
            let rotated = try project.withConnection { try $0.rotateKey(key.id, grace: 60, by: tester) }
            var change = EndpointChange()
            change.tier = "demo"
            change.model = "m"
            change.urls = ["https://a.example"]
            change.upstreamKey = "sk-upstream-secret"
            change.headers = ["X-Team": "secret-header"]
            var defaults = EndpointDefaults()
            defaults.systemPrompt = "secret-prompt"
            change.defaults = defaults
            let sealing = Sealing(keys: DataKeys(database: database.system(), masters: try MasterKeys(current: SealingTests.first)))
            _ = try project.withConnection {
                try $0.setEndpoint("talk", to: change, sealing: sealing, outbound: OutboundGuard(), by: tester)
            }
            change.upstreamKey = "sk-upstream-secret-2"
            _ = try project.withConnection {
                try $0.setEndpoint("talk", to: change, sealing: sealing, outbound: OutboundGuard(), by: tester)
            }
            let rows = try database.connect().query("SELECT audit_canonical(a) AS row FROM audit_log a ORDER BY seq")
            let log = try rows.map { try $0.get("row", as: String.self) }.joined(separator: "\n")
            #expect(
                log.contains("endpoint.create") && log.contains("endpoint.update") && log.contains("X-Team") && log.contains("xero_acme"))
            for secret in [key.key, rotated.key].compactMap({ $0 }) {
                let digest = SHA256.digest(secret).bytes.map { String(format: "%02x", $0) }.joined()
                #expect(!log.contains(secret.suffix(43)) && !log.contains(digest))
            }
            for secret in ["sk-upstream", "secret-header", "secret-prompt"] { #expect(!log.contains(secret), "\(secret)") }
        }
    }
}
