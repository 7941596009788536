/// What agents without a list of tiers are good for (05 §22).
package enum UsualTiers {
    private static let own = "self_hosted"
    private static let free = "free"

    /// - Parameter isShared: it is the operator's.
    package static func of(accelerators: [NewAgent.Accelerator], isShared: Bool) -> [String] {
        guard isShared else { return [own] }
        var tiers: [String] = []
        for tier in accelerators.compactMap(tier) where !tiers.contains(tier) { tiers.append(tier) }
        return tiers + [free]
    }

    private static func tier(of device: NewAgent.Accelerator) -> String? {
        switch device.kind.lowercased() {
        case "cuda": "gpu_nvidia_shared"
        case "rocm": "gpu_amd_shared"
        case "oneapi", "xpu": "gpu_intel_shared"
        case "zendnn": "cpu_amd_optimized"
        case "cpu" where device.name.contains("AMD"): "cpu_amd_optimized"
        case "cpu" where device.name.contains("Intel"): "cpu_intel_optimized"
        default: nil
        }
    }
}
