import Foundation
import Glibc
import Mesh

/// What models run on in this machine (05 §11): its cards, or else its processor.
package enum Accelerators {
    /// Asks drivers, which may take some seconds.
    package static func found() -> [Accelerator] {
        let query = "nvidia-smi --query-gpu=index,name,memory.total,driver_version --format=csv,noheader,nounits"
        var devices = output(of: query).map(nvidia) ?? []
        // The device by which ROCm reaches AMD's cards.
        if access("/dev/kfd", F_OK) == 0 { devices += amd(in: "/sys/class/drm") }
        if !devices.isEmpty { return devices }
        let memory = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
        return [processor((try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? "", memory: memory)]
    }

    /// - Parameter list: lines `index, name, MiB, driver`. Where card and machine share their memory, it is not a number.
    package static func nvidia(_ list: String) -> [Accelerator] {
        list.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: ",", omittingEmptySubsequences: false).map(trimmed)
            guard fields.count >= 4, let index = Int(fields[0]) else { return nil }
            let name = fields[1..<(fields.count - 2)].joined(separator: ", ")
            let (memory, driver) = (Int(fields[fields.count - 2]) ?? 0, fields[fields.count - 1])
            return device("cuda", name, bytes: memory << 20, index: index, driver: driver.isEmpty ? nil : driver)
        }
    }

    /// - Parameter folder: of the kernel's cards, `/sys/class/drm`.
    package static func amd(in folder: String) -> [Accelerator] {
        func read(_ path: String) -> String? {
            (try? String(contentsOfFile: path, encoding: .utf8)).map(trimmed)
        }
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        let cards = entries.compactMap { entry in entry.wholeMatch(of: /card([0-9]+)/).flatMap { Int($0.1) } }.sorted()
        return cards.compactMap { card -> (name: String?, bytes: Int)? in
            let path = "\(folder)/card\(card)/device"
            let memory = read("\(path)/mem_info_vram_total").flatMap(Int.init)
            guard read("\(path)/vendor") == "0x1002", let memory, memory >= leastMemory else { return nil }
            return (read("\(path)/product_name"), memory)
        }.enumerated().map { device("rocm", $1.name ?? "", bytes: $1.bytes, index: $0) }
    }

    /// - Parameter description: what `/proc/cpuinfo` says.
    package static func processor(_ description: String, memory: Int) -> Accelerator {
        let line = description.split(separator: "\n").first { $0.hasPrefix("model name") }
        let name = line?.split(separator: ":", maxSplits: 1).last.map(trimmed)
        return device("cpu", name ?? "", bytes: memory, index: 0)
    }

    /// The part of the memory that a processor lends its own graphics holds no model.
    private static let leastMemory = 4 << 30
    /// Bytes that the router takes as a name.
    private static let longestName = 128

    private static func trimmed(_ text: some StringProtocol) -> String { text.trimmingCharacters(in: .whitespacesAndNewlines) }

    private static func device(_ kind: String, _ name: String, bytes: Int, index: Int, driver: String? = nil) -> Accelerator {
        let name = name.filter { $0.isASCII && !($0.asciiValue! < 0x20 || $0.asciiValue! == 0x7F) }.prefix(longestName)
        return Accelerator(kind: kind, name: name.isEmpty ? kind : String(name), memoryBytes: bytes, index: index, driver: driver)
    }

    /// - Returns: nil where there is no such program, or it failed, or a driver hangs.
    private static func output(of command: String) -> String? {
        guard let pipe = popen("timeout -s KILL 10 \(command) 2>/dev/null", "re") else { return nil }
        var (text, buffer) = ([UInt8](), [UInt8](repeating: 0, count: 4_096))
        while case let count = fread(&buffer, 1, buffer.count, pipe), count > 0 { text += buffer[..<count] }
        return pclose(pipe) == 0 ? String(decoding: text, as: UTF8.self) : nil
    }
}
