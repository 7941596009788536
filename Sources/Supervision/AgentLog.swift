import Foundation
import Glibc
import Logging
import Threads

/// JSON lines on standard error. The level may change while the agent runs.
package struct AgentLog: LogHandler {
    package let level: Lock<Logger.Level>
    package var metadata: Logger.Metadata = [:]

    package init(_ level: Lock<Logger.Level>) { self.level = level }

    package var logLevel: Logger.Level {
        get { level.withLock { $0 } }
        nonmutating set { level.withLock { $0 = newValue } }
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var members = ["ts": Date().ISO8601Format(), "level": event.level.rawValue, "message": event.message.description]
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        for (name, value) in all { members[name] = "\(value)" }
        guard var text = try? JSONSerialization.data(withJSONObject: members, options: [.sortedKeys, .withoutEscapingSlashes]) else {
            return
        }
        text.append(10)
        // One call a line: lines of several threads do not mix.
        _ = text.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
    }
}
