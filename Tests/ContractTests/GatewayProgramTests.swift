import Foundation
import Testing

@Suite struct GatewayProgramTests {
    private static let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    private static let good = [
        "XEROTIER_COMPLETION_ENCRYPTION_KEY": key, "XEROTIER_DATABASE_URL": "postgresql://u:hidden@h/d", "XEROTIER_REDIS_SOCKET": "/r.sock",
    ]

    @Test func aGoodConfigurationIsShownWithoutSecrets() async throws {
        try await onThread {
            let run = try Program.gateway.run(["--check-config"], Self.good.merging(["XEROTIER_GATEWAY_STREAMS": "64"]) { $1 })
            #expect(run.status == 0 && run.errors.isEmpty)
            #expect(run.output.contains("gateway.streams = 64\n") && run.output.contains("database.url = (set)"))
            #expect(run.output.contains("128 threads a process; threads x (processes - 1) = 128 cover 128 connections"))
            #expect(!run.output.contains("hidden") && !run.output.contains(Self.key))
        }
    }

    @Test(arguments: [
        ("XEROTIER_GATEWAY_STREAM", "64", "XEROTIER_GATEWAY_STREAM"), ("XEROTIER_GATEWAY_STREAMS", "many", "gateway.streams"),
        ("XEROTIER_GATEWAY_STREAMS", "", "gateway.streams"), ("XEROTIER_GATEWAY_PROCESSES", "1", "gateway.processes"),
        ("XEROTIER_GATEWAY_NUMBER", "2", "gateway.number"), ("XEROTIER_GATEWAY_NGINX_WORKERS", "3", "gateway.streams"),
        ("XEROTIER_COMPLETION_ENCRYPTION_KEY", "c2hvcnQ=", "completion.encryption_key"), ("XEROTIER_DATABASE_URL", "", "database.url"),
        ("XEROTIER_REDIS_SOCKET", "localhost:6379", "redis.socket"), ("XEROTIER_CONFIG", "/nowhere.yaml", "XEROTIER_CONFIG"),
    ])
    func aBadConfigurationIsRefusedByName(name: String, value: String, named: String) async throws {
        try await onThread {
            let settings = Self.good.merging([name: value]) { $1 }
            // Serving is refused just as checking is.
            for arguments in [["--check-config"], []] {
                let run = try Program.gateway.run(arguments, settings)
                #expect(run.status == 78 && run.output.isEmpty)
                #expect(run.errors.contains(named) && run.errors.split(separator: "\n").count == 1, "\(run.errors)")
                #expect(!run.errors.contains("hidden") && !run.errors.contains(Self.key))
            }
        }
    }

    /// Everything else needs a key. Callbacks of payment providers are signed; the two tables are the same for everybody.
    private static let open = ["GET healthz", "GET readyz", "POST billing/stripe/webhook", "GET errors", "GET service-tiers"]
    /// Everything else that is called for inference is metered.
    private static let unmetered = [
        "GET models", "GET models/*id", "GET endpoints", "GET endpoints/:id", "GET endpoints/:id/stats", "GET endpoints/:id/limits",
        "GET usage/summary", "GET usage/daily", "GET usage/requests", "GET usage/requests/:request_id",
        "POST files", "GET files", "GET files/:id", "DELETE files/:id", "GET files/:id/content",
    ]
    /// It makes a chat of its own.
    private static let meteredManagement = "POST endpoints/:id/test"

    @Test func everyRouteSaysWhoMayCallItAndWhatItIsMeteredBy() async throws {
        try await onThread {
            let run = try Program.gateway.run(["--list-routes"], Self.good)
            #expect(run.status == 0, "\(run.errors)")
            let routes = run.output.split(separator: "\n").map {
                $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            }
            #expect(routes.contains(["POST", "chat/completions", "host,project,endpoint", "inference", "usage chat"]))
            #expect(Set(routes.map { $0.prefix(3) }).count == routes.count)
            for route in routes {
                try #require(route.count == 5, "\(route)")
                let (name, access, meter) = ("\(route[0]) \(route[1])", route[3], route[4])
                #expect(["open", "any key", "inference", "management", "inference or management", "execution"].contains(access), "\(name)")
                #expect((access == "open") == Self.open.contains(name), "\(name) is open to everybody, or should be")
                #expect(meter == "none" || meter.hasPrefix("usage "), "\(name)")
                let isFree = access != "inference" && name != Self.meteredManagement || Self.unmetered.contains(name)
                #expect((meter == "none") == isFree, "\(name) is metered by \(meter)")
            }
        }
    }

    @Test(arguments: ["completion.encryption_key", "database.url", "redis.socket"]) func whatIsMissingIsNamed(key: String) async throws {
        try await onThread {
            var settings = Self.good
            settings["XEROTIER_" + key.uppercased().replacingOccurrences(of: ".", with: "_")] = nil
            let run = try Program.gateway.run(["--check-config"], settings)
            #expect(run.status == 78 && run.errors.contains("\(key): missing"))
        }
    }

    @Test func theEnvironmentWinsOverTheFile() async throws {
        try await onThread {
            let path = "/tmp/xc\(UInt32.random(in: 0...UInt32.max)).yaml"
            AtExit.add { unlink(path) }
            func check(_ yaml: String, _ more: [String: String] = [:]) throws -> Program.Run {
                try yaml.write(toFile: path, atomically: true, encoding: .utf8)
                return try Program.gateway.run(["--check-config"], Self.good.merging(["XEROTIER_CONFIG": path]) { $1 }.merging(more) { $1 })
            }
            let file = try check("gateway:\n  streams: 32\n  processes: 3\negress:\n  allow_hosts: [a:1, b:2]\n")
            #expect(
                file.status == 0 && file.output.contains("gateway.streams = 32") && file.output.contains("egress.allow_hosts = a:1,b:2"))
            #expect(try check("gateway: {streams: 32}", ["XEROTIER_GATEWAY_STREAMS": "16"]).output.contains("gateway.streams = 16"))
            for (yaml, named) in [("gateway: {streem: 1}", "gateway.streem"), ("gateway: [", "xerotier.yaml"), ("- a", "xerotier.yaml")] {
                let run = try check(yaml)
                #expect(run.status == 78 && run.errors.contains(named), "\(run.errors)")
            }
        }
    }
}
