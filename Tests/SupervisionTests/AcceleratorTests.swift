import Foundation
import Mesh
import Supervision
import Testing

@Suite struct AcceleratorTests {
    @Test func cardsOfNVIDIAAreAsTheirToolListsThem() {
        let list = """
            0, NVIDIA A30, 24576, 535.161.08
            1, NVIDIA H100 80GB HBM3, 81559, 550.54.15
            2, NVIDIA GB10, [N/A], 580.95.05

            """
        #expect(
            Accelerators.nvidia(list) == [
                Accelerator(kind: "cuda", name: "NVIDIA A30", memoryBytes: 24_576 << 20, index: 0, driver: "535.161.08"),
                Accelerator(kind: "cuda", name: "NVIDIA H100 80GB HBM3", memoryBytes: 81_559 << 20, index: 1, driver: "550.54.15"),
                Accelerator(kind: "cuda", name: "NVIDIA GB10", memoryBytes: 0, index: 2, driver: "580.95.05"),
            ])
    }

    @Test(arguments: ["", "No devices were found\n", "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"])
    func whatIsNoListHasNoCards(text: String) { #expect(Accelerators.nvidia(text) == []) }

    @Test func cardsOfAMDAreThoseThatHoldAModel() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "drm-\(UUID())")
        defer { try? FileManager.default.removeItem(at: folder) }
        func add(_ entry: String, _ files: [String: String]) throws {
            let device = folder.appending(path: entry).appending(path: "device")
            try FileManager.default.createDirectory(at: device, withIntermediateDirectories: true)
            for (name, text) in files { try "\(text)\n".write(to: device.appending(path: name), atomically: true, encoding: .utf8) }
        }
        try add("card0", ["vendor": "0x1002", "mem_info_vram_total": "536870912"])
        try add("card10", ["vendor": "0x1002", "mem_info_vram_total": "17163091968"])
        try add("card2", ["vendor": "0x1002", "mem_info_vram_total": "206141652992", "product_name": "AMD Instinct MI300X"])
        try add("card2-DP-1", ["vendor": "0x1002", "mem_info_vram_total": "206141652992"])
        try add("card3", ["vendor": "0x10de"])
        #expect(
            Accelerators.amd(in: folder.path) == [
                Accelerator(kind: "rocm", name: "AMD Instinct MI300X", memoryBytes: 206_141_652_992, index: 0),
                Accelerator(kind: "rocm", name: "rocm", memoryBytes: 17_163_091_968, index: 1),
            ])
        #expect(Accelerators.amd(in: folder.appending(path: "nothing").path) == [])
    }

    @Test func aProcessorIsCalledWhatItCallsItself() {
        let text = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) Gold 6430: 2.1 GHz\n"
        #expect(
            Accelerators.processor(text, memory: 8 << 30)
                == Accelerator(kind: "cpu", name: "Intel(R) Xeon(R) Gold 6430: 2.1 GHz", memoryBytes: 8 << 30, index: 0))
        #expect(Accelerators.processor("processor\t: 0\n", memory: 1).name == "cpu")
    }
}
