import Foundation
import Threads

/// A mail server of somebody else's (RFC 5321), without TLS: keeps what it accepts, and refuses what a test wants refused.
final class FakeMailServer: Sendable {
    struct Mail: Sendable {
        var from: String
        var to: [String]
        var data: String

        /// The value of a header, its folds undone.
        func header(_ name: String) -> String? {
            let head = data.components(separatedBy: "\r\n\r\n")[0].replacingOccurrences(of: "\r\n ", with: " ")
            return head.components(separatedBy: "\r\n").first { $0.hasPrefix(name + ": ") }.map { String($0.dropFirst(name.count + 2)) }
        }

        var subject: String {
            (header("Subject") ?? "").components(separatedBy: " ").compactMap { word in
                Data(base64Encoded: word.replacingOccurrences(of: "=?utf-8?B?", with: "").replacingOccurrences(of: "?=", with: ""))
            }.map { String(decoding: $0, as: UTF8.self) }.joined()
        }

        var body: String {
            let encoded = data.components(separatedBy: "\r\n\r\n").dropFirst().joined(separator: "\r\n\r\n")
            return Data(base64Encoded: encoded, options: .ignoreUnknownCharacters).map { String(decoding: $0, as: UTF8.self) } ?? ""
        }
    }

    struct State: Sendable {
        var mails: [Mail] = []
        /// What AUTH PLAIN brought, decoded.
        var credentials: [String] = []
        /// The answer to the next messages, such as `451 later`; then they are taken.
        var refusals: [String] = []
        /// An address that is never taken.
        var unknown: String?
        var commands: [String] = []
    }

    let state: Lock<State>
    private let server: RawServer
    var url: String { "smtp://127.0.0.1:\(server.port)" }

    init() throws {
        let state = Lock(State())
        self.state = state
        server = try RawServer { Self.serve($0, state) }
    }

    func stop() { server.stop() }

    private static func serve(_ client: RawConnection, _ state: Lock<State>) {
        var mail = Mail(from: "", to: [], data: "")
        client.send("220 mail.test ESMTP\r\n")
        while let line = client.read(until: "\r\n")?.dropLast(1).description {
            let words = line.split(separator: " ", maxSplits: 2).map(String.init)
            state.withLock { $0.commands.append(words.first ?? "") }
            switch words.first?.uppercased() {
            case "EHLO": client.send("250-mail.test\r\n250-AUTH PLAIN\r\n250 8BITMIME\r\n")
            case "AUTH":
                // Without an initial response it comes after the server's empty challenge.
                var response = words.count > 2 ? words[2] : ""
                if response.isEmpty {
                    client.send("334 \r\n")
                    response = client.read(until: "\r\n")?.dropLast(1).description ?? ""
                }
                let decoded = Data(base64Encoded: response).map { String(decoding: $0, as: UTF8.self) } ?? ""
                state.withLock { $0.credentials.append(decoded) }
                client.send("235 ok\r\n")
            case "MAIL":
                mail = Mail(from: line, to: [], data: "")
                client.send("250 ok\r\n")
            case "RCPT":
                if let unknown = state.withLock({ $0.unknown }), line.contains(unknown) {
                    client.send("550 no such user\r\n")
                } else {
                    mail.to.append(line)
                    client.send("250 ok\r\n")
                }
            case "DATA":
                client.send("354 go on\r\n")
                guard let data = client.read(until: "\r\n.\r\n") else { return }
                mail.data = String(data.dropLast(2))
                let taken = mail
                let refusal = state.withLock { state -> String? in
                    if !state.refusals.isEmpty { return state.refusals.removeFirst() }
                    state.mails.append(taken)
                    return nil
                }
                client.send((refusal ?? "250 taken") + "\r\n")
            case "QUIT":
                client.send("221 bye\r\n")
                client.end()
                return
            default: client.send("502 unknown\r\n")
            }
        }
    }
}
