import CZeroMQ
import Threads

/// Says who may connect to the CURVE servers of a context: the handler of ZAP (https://rfc.zeromq.org/spec/27/), on a thread of its own.
///
/// It must be there before a server binds, since libzmq lets everybody in without one. The thread ends with the context.
///
/// ZAP is told a peer's key but not the name that the peer takes for itself on a ROUTER: who that name belongs to is for the receiver of messages to
/// check, by `ZeroMQPart.userID`, which is the answer given here.
public struct ZeroMQGate {
    public struct Peer: Sendable {
        public let domain: String
        public let address: String
        public let key: CurvePublicKey
    }

    /// - Parameter admit: the user id that all messages of the peer will carry, or nil to refuse it. Called on the gate's thread, which must not be
    ///   held up: nobody else gets in meanwhile.
    public init(_ context: ZeroMQContext, admit: @escaping @Sendable (Peer) -> String?) throws {
        let socket = try ZeroMQSocket(context, .reply)
        try socket.bind("inproc://zeromq.zap.01")
        let handed = Handed(socket: socket)
        startThread("zap") {
            let socket = handed.take()
            do {
                while true {
                    guard try ZeroMQPoll.wait(for: [.socket(socket)], atMost: .seconds(3_600))[0] else { continue }
                    while let request = try socket.receive() { _ = try socket.send(Self.reply(to: request, admit)) }
                }
            } catch {
                // The context has ended, or the socket is broken: a CURVE server without its gate lets nobody in.
            }
        }
    }

    private static func reply(to request: [ZeroMQPart], _ admit: (Peer) -> String?) -> [ZeroMQPart] {
        let id = request.count > 1 ? request[1] : ZeroMQPart([])
        func answer(_ code: String, _ text: String, user: String = "") -> [ZeroMQPart] {
            [ZeroMQPart("1.0"), id, ZeroMQPart(code), ZeroMQPart(text), ZeroMQPart(user), ZeroMQPart([])]
        }
        // version, request id, domain, address, identity (of our own socket), mechanism, key
        guard request.count == 7, request[0].bytes == Array("1.0".utf8), request[5].bytes == Array("CURVE".utf8),
            let key = request[6].withUnsafeBytes({ CurvePublicKey($0) })
        else { return answer("500", "CURVE alone is spoken here") }
        let peer = Peer(
            domain: String(decoding: request[2].bytes, as: UTF8.self), address: String(decoding: request[3].bytes, as: UTF8.self), key: key)
        // 300 is no word to the peer, which tries again when its handshake has taken too long; after 400 libzmq would never try again, so an agent that
        // came a moment too early would stay out.
        guard let user = admit(peer) else { return answer("300", "unknown key") }
        return answer("200", "OK", user: user)
    }
}

/// Hands a socket to another thread. `@unchecked Sendable`: it is put in before the thread starts and taken out once, by that thread.
final class Handed: @unchecked Sendable {
    private var socket: ZeroMQSocket?

    init(socket: ZeroMQSocket) { self.socket = socket }

    func take() -> ZeroMQSocket {
        defer { socket = nil }
        return socket!
    }
}
