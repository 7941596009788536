import Foundation
import Glibc
import JSON

/// One JSON line per request, without bodies, keys or query strings. Each line is one write(2), so processes may share a file.
public final class AccessLog: Sendable {
    private let path: String
    private let descriptor: Int32

    /// - Parameter path: a file to append to; `-` = standard error.
    public init(path: String) throws {
        self.path = path
        if path == "-" {
            descriptor = 2
            return
        }
        descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o640)
        if descriptor < 0 { throw CocoaError(.fileWriteNoPermission, userInfo: [NSFilePathErrorKey: path]) }
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
        json.raw("}\n" as StaticString)
        _ = json.bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
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
