import CZeroMQ

/// Tells what happens to the connections of a socket; see zmq_socket_monitor(3). It belongs to one thread, which may be another than the socket's.
public final class ZeroMQMonitor {
    public struct Event: Sendable, Equatable {
        public enum Kind: Sendable, Equatable {
            case listening, accepted, connected, disconnected, closed, retrying
            /// The peer is known and admitted: messages can flow.
            case admitted
            /// The gate refused a peer, with ZAP's status code; told to the server.
            case refused(status: Int)
            /// No or a wrong handshake, such as that of a peer with a wrong server key.
            case handshakeFailed
            case other(Int)
        }

        public let kind: Kind
        /// For logs; no client may see it.
        public let endpoint: String
    }

    /// A PAIR socket, to be polled with others.
    public let socket: ZeroMQSocket

    /// Made by the thread that has the watched socket.
    /// - Parameter name: unique in the context.
    public init(of watched: ZeroMQSocket, in context: ZeroMQContext, name: String) throws {
        let endpoint = "inproc://monitor-\(name)"
        guard zmq_socket_monitor(watched.pointer, endpoint, ZMQ_EVENT_ALL) == 0 else { throw ZeroMQError.last("zmq_socket_monitor") }
        socket = try ZeroMQSocket(context, .pair)
        try socket.connect(endpoint)
    }

    /// The next event that has come; nil without one.
    public func next() throws -> Event? {
        guard let parts = try socket.receive(), parts.count == 2, parts[0].count == 6 else { return nil }
        let (event, value) = parts[0].withUnsafeBytes {
            (Int32($0.loadUnaligned(as: UInt16.self)), $0.loadUnaligned(fromByteOffset: 2, as: UInt32.self))
        }
        return Event(kind: Event.Kind(event, value), endpoint: String(decoding: parts[1].bytes, as: UTF8.self))
    }
}

extension ZeroMQMonitor.Event.Kind {
    fileprivate init(_ event: Int32, _ value: UInt32) {
        self =
            switch event {
            case ZMQ_EVENT_LISTENING: .listening
            case ZMQ_EVENT_ACCEPTED: .accepted
            case ZMQ_EVENT_CONNECTED: .connected
            case ZMQ_EVENT_DISCONNECTED: .disconnected
            case ZMQ_EVENT_CLOSED: .closed
            case ZMQ_EVENT_CONNECT_RETRIED: .retrying
            case ZMQ_EVENT_HANDSHAKE_SUCCEEDED: .admitted
            case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: .refused(status: Int(value))
            case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL, ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL: .handshakeFailed
            default: .other(Int(event))
            }
    }
}
