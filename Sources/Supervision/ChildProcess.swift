import Glibc
import Threads

/// A program that runs beside us in a process group of its own, and what it said last.
///
/// It ends with us where setpriv(1) is there: a killed agent leaves no engine behind that holds the device's memory.
final class ChildProcess: Sendable {
    struct CannotStart: Error, CustomStringConvertible { let description: String }

    private static let keptOutput = 4_096
    private static let reaper = "/usr/bin/setpriv"

    private let process: pid_t
    /// The wait status once it has ended.
    private let status = Monitor<Int32?>(nil)
    private let output = Lock<[UInt8]>([])

    /// To be called on a thread that lives as long as the program shall: the kernel ends it with that thread.
    /// - Throws: `CannotStart`, when there is no such program.
    init(_ command: EngineCommand) throws {
        guard let program = Self.path(of: command.program, in: command.environment["PATH"]) else {
            throw CannotStart(description: "\(command.program): there is no such program")
        }
        let words = (access(Self.reaper, X_OK) == 0 ? [Self.reaper, "--pdeathsig", "KILL", "--"] : []) + [program] + command.arguments
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw CannotStart(description: "out of descriptors") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(ends[1]) }
        do { process = try Self.spawn(words, command.environment, output: ends[1]) } catch {
            close(ends[0])
            throw error
        }
        let (process, source) = (process, ends[0])
        startThread("engine output") { [output] in Self.keep(source, in: output) }
        startThread("engine wait") { [status] in
            var ended: Int32 = 0
            while waitpid(process, &ended, 0) < 0 && errno == EINTR {}
            // What it started may hold the device or the port.
            Glibc.kill(-process, SIGKILL)
            status.change { $0 = ended }
        }
    }

    var hasEnded: Bool { status.withLock { $0 != nil } }

    /// How it ended, in words.
    var ending: String {
        guard let ended = status.withLock({ $0 }) else { return "it runs" }
        return ended & 0x7F == 0 ? "exit status \(ended >> 8 & 0xFF)" : "signal \(ended & 0x7F)"
    }

    /// The last 4 KiB of what it wrote.
    var lastOutput: String { output.withLock { String(decoding: $0.suffix(Self.keptOutput), as: UTF8.self) } }

    /// The whole group, at once.
    func kill() { Glibc.kill(-process, SIGKILL) }

    /// SIGTERM, and SIGKILL for what is still there after so many seconds.
    func stop(within seconds: Double) {
        guard !hasEnded else { return }
        Glibc.kill(-process, SIGTERM)
        if !wait(atMost: seconds) { kill() }
        wait(atMost: 10)
    }

    /// - Returns: whether it has ended.
    @discardableResult
    func wait(atMost seconds: Double) -> Bool { status.wait(atMost: seconds, while: { $0 == nil }) { $0 != nil } }

    private static func keep(_ source: Int32, in output: Lock<[UInt8]>) {
        defer { close(source) }
        var buffer = [UInt8](repeating: 0, count: 4_096)
        while true {
            let count = read(source, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return }
            output.withLock { kept in
                kept.append(contentsOf: buffer[..<count])
                if kept.count > 2 * keptOutput { kept.removeFirst(kept.count - keptOutput) }
            }
        }
    }

    private static func path(of program: String, in path: String?) -> String? {
        guard !program.contains("/") else { return access(program, X_OK) == 0 ? program : nil }
        return (path ?? "/usr/bin:/bin").split(separator: ":").map { "\($0)/\(program)" }.first { access($0, X_OK) == 0 }
    }

    private static func spawn(_ words: [String], _ environment: [String: String], output: Int32) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, output, 2)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // Our signals are blocked and SIGPIPE is ignored; the engine's are as usual.
        var (none, usual) = (sigset_t(), sigset_t())
        sigemptyset(&none)
        sigfillset(&usual)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &usual)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        let arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        let variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in arguments + variables { free(text) } }
        var process: pid_t = 0
        let code = posix_spawn(&process, words[0], &actions, &attributes, arguments, variables)
        guard code == 0 else { throw CannotStart(description: "\(words[0]): \(String(cString: strerror(code)))") }
        return process
    }
}
