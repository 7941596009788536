import CZeroMQ

/// A setting of a socket; see zmq_setsockopt(3). All are set before the socket binds or connects.
public struct ZeroMQOption: Sendable {
    enum Value: Sendable {
        case int(Int32)
        case long(Int64)
        case bytes([UInt8])
        case text(String)
    }

    let name: Int32
    let value: Value

    /// Messages that wait for each peer, before a send says `full`. 0 = no limit.
    public static func sendHighWaterMark(_ messages: Int) -> ZeroMQOption { .init(name: ZMQ_SNDHWM, value: .int(Int32(messages))) }
    /// Messages of each peer that wait to be received, before its connection is read no more.
    public static func receiveHighWaterMark(_ messages: Int) -> ZeroMQOption { .init(name: ZMQ_RCVHWM, value: .int(Int32(messages))) }
    public static func sendBuffer(_ bytes: Int) -> ZeroMQOption { .init(name: ZMQ_SNDBUF, value: .int(Int32(bytes))) }
    public static func receiveBuffer(_ bytes: Int) -> ZeroMQOption { .init(name: ZMQ_RCVBUF, value: .int(Int32(bytes))) }
    /// A peer that sends a longer part loses its connection. It is a limit for each part; a message may have many.
    public static func longestPart(_ bytes: Int) -> ZeroMQOption { .init(name: ZMQ_MAXMSGSIZE, value: .long(Int64(bytes))) }
    /// A name of this socket that a ROUTER knows it by; 1...255 bytes, the first not 0. Anybody who is admitted can take any name.
    public static func identity(_ name: [UInt8]) -> ZeroMQOption { .init(name: ZMQ_ROUTING_ID, value: .bytes(name)) }
    /// A ROUTER says `noPeer` for a name that it does not know, and `full`, instead of throwing the message away.
    public static var mandatory: ZeroMQOption { .init(name: ZMQ_ROUTER_MANDATORY, value: .int(1)) }
    /// A peer that comes with a known name takes the place of the one that has it.
    public static var handover: ZeroMQOption { .init(name: ZMQ_ROUTER_HANDOVER, value: .int(1)) }
    /// Only connections that are established get messages.
    public static var immediate: ZeroMQOption { .init(name: ZMQ_IMMEDIATE, value: .int(1)) }
    /// A sign of life is asked for this often, and the connection is dropped without one for `timeout`, in milliseconds.
    public static func heartbeat(milliseconds: Int, timeout: Int) -> [ZeroMQOption] {
        [.init(name: ZMQ_HEARTBEAT_IVL, value: .int(Int32(milliseconds))), .init(name: ZMQ_HEARTBEAT_TIMEOUT, value: .int(Int32(timeout)))]
    }
    /// The first wait before connecting again, and what it grows to, in milliseconds.
    public static func reconnect(milliseconds: Int, longest: Int) -> [ZeroMQOption] {
        [.init(name: ZMQ_RECONNECT_IVL, value: .int(Int32(milliseconds))), .init(name: ZMQ_RECONNECT_IVL_MAX, value: .int(Int32(longest)))]
    }
    /// How long what was sent may still go out after the socket was closed.
    public static func linger(milliseconds: Int) -> ZeroMQOption { .init(name: ZMQ_LINGER, value: .int(Int32(milliseconds))) }
    /// How long a connection may take to stand, before it is tried anew; the system would wait for minutes.
    public static func connecting(milliseconds: Int) -> ZeroMQOption {
        .init(name: ZMQ_CONNECT_TIMEOUT, value: .int(Int32(milliseconds)))
    }
    /// How long a connection may take until messages flow; 30 s if not set. A peer that the gate refuses tries again after this time.
    public static func handshake(milliseconds: Int) -> ZeroMQOption { .init(name: ZMQ_HANDSHAKE_IVL, value: .int(Int32(milliseconds))) }

    /// The side that is connected to. Who may connect is the `ZeroMQGate`'s to say, and the domain is told to it.
    public static func curveServer(_ keys: CurveKeys, domain: String) -> [ZeroMQOption] {
        [
            .init(name: ZMQ_CURVE_SERVER, value: .int(1)), .init(name: ZMQ_CURVE_SECRETKEY, value: .text(keys.secretText)),
            .init(name: ZMQ_ZAP_DOMAIN, value: .text(domain)),
        ]
    }

    /// The side that connects, to a server with this public key and no other.
    public static func curveClient(_ keys: CurveKeys, server: CurvePublicKey) -> [ZeroMQOption] {
        [
            .init(name: ZMQ_CURVE_SERVERKEY, value: .text(server.text)),
            .init(name: ZMQ_CURVE_PUBLICKEY, value: .text(keys.publicKey.text)),
            .init(name: ZMQ_CURVE_SECRETKEY, value: .text(keys.secretText)),
        ]
    }
}
