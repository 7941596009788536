import Postgres
import Testing

/// What agents without a list of tiers are good for (05 §22).
@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct ServedTiersTests {
    private static let cases: [(devices: String, tiers: [String])] = [
        (#"[{"kind":"cuda","name":"NVIDIA A30"}]"#, ["gpu_nvidia_shared", "free"]),
        (#"[{"kind":"rocm","name":"MI300X"}]"#, ["gpu_amd_shared", "free"]),
        (#"[{"kind":"oneapi","name":"Max 1550"}]"#, ["gpu_intel_shared", "free"]),
        (#"[{"kind":"zendnn","name":"EPYC"}]"#, ["cpu_amd_optimized", "free"]),
        (#"[{"kind":"cpu","name":"AMD EPYC 9354"}]"#, ["cpu_amd_optimized", "free"]),
        (#"[{"kind":"CPU","name":"Intel(R) Xeon(R) 6430"}]"#, ["cpu_intel_optimized", "free"]),
        (#"[{"kind":"cpu","name":"Neoverse"}]"#, ["free"]), (#"[{"kind":"appleMetal","name":"M4"}]"#, ["free"]), ("[]", ["free"]),
        (
            #"[{"kind":"rocm","name":"a"},{"kind":"cuda","name":"b"},{"kind":"rocm","name":"a"}]"#,
            ["gpu_amd_shared", "gpu_nvidia_shared", "free"]
        ),
    ]

    @Test func aSharedAgentIsForTheTiersOfItsAcceleratorsAndFreeAndAProjectsOwnForItsOwn() throws {
        let connection = try PostgresServer.makeDatabase().connect()
        for (devices, tiers) in Self.cases {
            let row = try connection.query(
                "SELECT usual_tiers(\(devices)::jsonb, true) AS shared, usual_tiers(\(devices)::jsonb, false) AS own")[0]
            #expect(try row.texts("shared") == tiers, "\(devices)")
            #expect(try row.texts("own") == ["self_hosted"], "\(devices)")
        }
    }
}
