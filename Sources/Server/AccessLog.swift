import Foundation
import Glibc
import JSON
import Threads

/// One JSON line per request, without bodies, keys or query strings.
///
/// A thread writes: the first line at once, and what comes in the next 20 ms together. Each write(2) holds whole lines, so processes may share
/// a file. Lines are for operators: a process that is killed may lose its last ones; what is charged lies in usage rows.
public final class AccessLog: Sendable {
    private struct State {
        var lines: [UInt8] = []
        var isStopping = false
        var isStopped = false
    }

    private let path: String
    private let descriptor: Int32
    private let state = Monitor(State())

    private static let pause: useconds_t = 20_000
    /// With so many bytes waiting for the disk, requests wait too.
    private static let most = 4 << 20

    /// - Parameter path: a file to append to; `-` = standard error.
    public init(path: String) throws {
        self.path = path
        descriptor = path == "-" ? 2 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o640)
        if descriptor < 0 { throw CocoaError(.fileWriteNoPermission, userInfo: [NSFilePathErrorKey: path]) }
        startThread("access-log") { self.writeUntilStopped() }
    }

    /// Writes what is left and ends the thread.
    public func stop() {
        state.change { $0.isStopping = true }
        state.wait(while: { !$0.isStopped }, then: { _ in })
    }

    private func writeUntilStopped() {
        while true {
            let (lines, isLast) = state.wait(while: { $0.lines.isEmpty && !$0.isStopping }) { state in
                defer { state.lines = [] }
                return (state.lines, state.isStopping)
            }
            if lines.count > Self.most { state.wakeAll() }
            write(lines[...])
            if isLast { break }
            usleep(Self.pause)
        }
        state.change { $0.isStopped = true }
    }

    private func write(_ lines: ArraySlice<UInt8>) {
        var rest = lines
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count <= 0 && errno != EINTR { return }
            rest = rest.dropFirst(max(0, count))
        }
    }

    deinit { if descriptor > 2 { close(descriptor) } }

    /// Goes on in a new file of the same name, after the old one was renamed. The descriptor stays, so that writers need no lock.
    public func reopen() {
        guard descriptor > 2 else { return }
        let new = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o640)
        guard new >= 0 else { return }
        dup2(new, descriptor)
        close(new)
    }

    func write(_ request: Request, _ context: Context, route: String, status: Int, elapsed: Duration) {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        var json = JSONWriter(capacity: 512)
        json.raw(#"{"time":"#)
        json.fixed(now.tv_sec * 1000 + now.tv_nsec / 1_000_000, decimals: 3)
        json.raw(#","request_id":"#)
        json.string(context.requestID)
        func member(_ name: StaticString, _ value: String?) {
            guard let value else { return }
            json.raw(name)
            json.string(value)
        }
        member(#","client_request_id":"#, request.header("HTTP_X_REQUEST_ID").flatMap(Self.clientRequestID))
        member(#","method":"#, request.method)
        member(#","path":"#, request.path)
        member(#","route":"#, route)
        member(#","address":"#, request.header("REMOTE_ADDR"))
        json.raw(#","status":"#)
        json.integer(status)
        json.raw(#","ms":"#)
        json.fixed(elapsed.microseconds, decimals: 3)
        member(#","project":"#, context.principalIfAny?.projectID.description)
        member(#","key":"#, context.principalIfAny?.keyID.description)
        member(#","endpoint":"#, context.log.endpointSlug)
        member(#","model":"#, context.log.modelName)
        member(#","worker":"#, context.log.workerID)
        member(#","error":"#, context.log.errorCode?.name)
        if let first = context.log.timeToFirstByte {
            json.raw(#","ttft_ms":"#)
            json.fixed(first.microseconds, decimals: 3)
        }
        if let input = context.log.inputTokens {
            json.raw(#","input_tokens":"#)
            json.integer(input)
        }
        if let output = context.log.outputTokens {
            json.raw(#","output_tokens":"#)
            json.integer(output)
        }
        if let cost = context.log.costNano {
            json.raw(#","cost_nano":"#)
            json.integer(cost)
        }
        json.raw("}\n" as StaticString)
        let line = json.bytes
        let isFirst = state.wait(while: { $0.lines.count > Self.most && !$0.isStopping }) { state in
            state.lines.append(contentsOf: line)
            return state.lines.count == line.count
        }
        if isFirst { state.wakeAll() }
    }

    /// Only ids of this form are logged: `^[A-Za-z0-9._-]{8,64}$`.
    package static func clientRequestID(_ text: String) -> String? {
        let allowed = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
            case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"): true
            default: false
            }
        }
        return allowed && (8...64).contains(text.utf8.count) ? text : nil
    }
}

extension Double {
    /// With a fixed number of decimals; no locale, no formatter.
    public func text(decimals: Int) -> String {
        var scale = 1
        for _ in 0..<decimals { scale *= 10 }
        let units = Int((self * Double(scale)).rounded())
        let fraction = String(units % scale)
        return "\(units / scale).\(String(repeating: "0", count: decimals - fraction.count))\(fraction)"
    }
}

extension Duration {
    /// As a number of milliseconds.
    public var milliseconds: Double { Double(components.seconds) * 1e3 + Double(components.attoseconds) / 1e15 }
    /// As a number of microseconds, cut.
    public var microseconds: Int { Int(components.seconds) * 1_000_000 + Int(components.attoseconds / 1_000_000_000_000) }
}
