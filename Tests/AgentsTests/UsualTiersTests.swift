import Agents
import Testing

@Suite struct UsualTiersTests {
    private static func device(_ kind: String, _ name: String = "one") -> NewAgent.Accelerator {
        NewAgent.Accelerator(kind: kind, name: name, memoryBytes: 1, index: 0)
    }

    @Test func aProjectsOwnAgentIsForItsOwnTierWhateverItHas() {
        #expect(UsualTiers.of(accelerators: [], isShared: false) == ["self_hosted"])
        #expect(UsualTiers.of(accelerators: [Self.device("cuda")], isShared: false) == ["self_hosted"])
    }

    @Test(arguments: [
        ("cuda", "NVIDIA A30", ["gpu_nvidia_shared", "free"]), ("rocm", "MI300X", ["gpu_amd_shared", "free"]),
        ("oneapi", "Max 1550", ["gpu_intel_shared", "free"]), ("zendnn", "EPYC", ["cpu_amd_optimized", "free"]),
        ("cpu", "AMD EPYC 9354", ["cpu_amd_optimized", "free"]), ("cpu", "Intel(R) Xeon(R) 6430", ["cpu_intel_optimized", "free"]),
        ("cpu", "Neoverse", ["free"]), ("appleMetal", "M4", ["free"]),
    ])
    func aSharedAgentIsForTheTierOfItsAcceleratorAndFree(kind: String, name: String, tiers: [String]) {
        #expect(UsualTiers.of(accelerators: [Self.device(kind, name)], isShared: true) == tiers)
    }

    @Test func eachTierIsNamedOnce() {
        let devices = [Self.device("cuda"), Self.device("cuda"), Self.device("rocm")]
        #expect(UsualTiers.of(accelerators: devices, isShared: true) == ["gpu_nvidia_shared", "gpu_amd_shared", "free"])
    }
}
