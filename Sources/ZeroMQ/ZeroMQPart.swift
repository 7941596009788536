import CZeroMQ
import Glibc

/// One part of a message: bytes that do not change. A part that was received can be sent on without a copy.
///
/// `@unchecked Sendable`: after it was made or received a message is only read, and libzmq counts the holders of its bytes atomically.
public final class ZeroMQPart: @unchecked Sendable {
    let message: UnsafeMutablePointer<zmq_msg_t>

    /// Empty, to be received into.
    init() {
        message = .allocate(capacity: 1)
        zmq_msg_init(message)
    }

    /// So many bytes, which `fill` writes.
    public init(count: Int, _ fill: (UnsafeMutableRawBufferPointer) -> Void) {
        message = .allocate(capacity: 1)
        let status = zmq_msg_init_size(message, count)
        precondition(status == 0, "no memory for a message of \(count) bytes")
        fill(UnsafeMutableRawBufferPointer(start: zmq_msg_data(message), count: count))
    }

    public convenience init(_ bytes: UnsafeRawBufferPointer) {
        self.init(count: bytes.count) { if !bytes.isEmpty { $0.copyMemory(from: bytes) } }
    }

    public convenience init(_ bytes: [UInt8]) {
        self.init(count: bytes.count) { buffer in bytes.withUnsafeBytes { if !$0.isEmpty { buffer.copyMemory(from: $0) } } }
    }

    public convenience init(_ text: String) {
        var text = text
        let bytes = text.withUTF8 { Array($0) }
        self.init(bytes)
    }

    deinit {
        zmq_msg_close(message)
        message.deallocate()
    }

    public var count: Int { zmq_msg_size(message) }

    /// The bytes, for as long as `body` runs.
    public func withUnsafeBytes<Answer, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Answer
    ) throws(Failure) -> Answer {
        try body(UnsafeRawBufferPointer(start: zmq_msg_data(message), count: count))
    }

    public var bytes: [UInt8] { withUnsafeBytes { Array($0) } }

    /// Who the gate said that the sender is; nil on a socket without CURVE, and on the name that a ROUTER puts before a message.
    public var userID: String? { property("User-Id") }

    /// The sender's address, which no client may see.
    public var peerAddress: String? { property("Peer-Address") }

    /// See zmq_msg_gets(3).
    private func property(_ name: String) -> String? { zmq_msg_gets(message, name).map { String(cString: $0) } }
}
