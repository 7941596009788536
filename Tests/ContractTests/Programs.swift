import Foundation
import Testing

/// Our own programs, as the build has just made them.
enum Program: String {
    case gateway, migrate, billing, sweeper

    struct Run {
        var status: Int32
        var output: String
        var errors: String
        /// The output as one JSON object.
        var object: [String: Any] { (try? JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any]) ?? [:] }
        var list: [[String: Any]] { (try? JSONSerialization.jsonObject(with: Data(output.utf8)) as? [[String: Any]]) ?? [] }
    }

    /// Runs it to its end, with nothing of the tests' own settings.
    func run(_ arguments: [String], _ settings: [String: String], at directory: String = PostgresServer.repository) throws -> Run {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "\(PostgresServer.repository)/.build/release/\(rawValue)")
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: directory)
        process.environment = settings.merging(["PATH": "/usr/bin:/bin"]) { given, _ in given }
        // Files and not pipes: a program that another test starts at the same moment could inherit a pipe and hold it open.
        let place = "/tmp/xo\(UInt32.random(in: 0...UInt32.max))"
        func file(_ suffix: String) throws -> FileHandle {
            guard FileManager.default.createFile(atPath: place + suffix, contents: nil) else { throw CocoaError(.fileWriteUnknown) }
            return try #require(FileHandle(forUpdatingAtPath: place + suffix))
        }
        let output = try file(".out")
        let errors = try file(".err")
        defer { [".out", ".err"].forEach { unlink(place + $0) } }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = errors
        try process.run()
        process.waitUntilExit()
        return Run(
            status: process.terminationStatus, output: try String(contentsOfFile: place + ".out", encoding: .utf8),
            errors: try String(contentsOfFile: place + ".err", encoding: .utf8))
    }
}
