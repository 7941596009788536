import CZeroMQ

/// The I/O threads and sockets of a process; see zmq_ctx_new(3). One is enough for a process.
///
/// `@unchecked Sendable`: libzmq's contexts may be used by many threads; the pointer never changes.
public final class ZeroMQContext: @unchecked Sendable {
    let pointer: UnsafeMutableRawPointer

    /// - Parameter mostSockets: of all threads; libzmq's own default is 1,023.
    public init(threads: Int = 1, mostSockets: Int = 1_023) throws {
        guard let pointer = zmq_ctx_new() else { throw ZeroMQError.last("zmq_ctx_new") }
        self.pointer = pointer
        zmq_ctx_set(pointer, ZMQ_IO_THREADS, Int32(threads))
        zmq_ctx_set(pointer, ZMQ_MAX_SOCKETS, Int32(mostSockets))
        // What is closed with unsent messages does not wait for its peer.
        zmq_ctx_set(pointer, ZMQ_BLOCKY, 0)
    }

    /// Wakes every thread that waits on a socket of this context, with `ZeroMQError.terminated`; all later calls end so too. May be called more than
    /// once, from any thread.
    public func shutDown() { zmq_ctx_shutdown(pointer) }

    /// Sockets and monitors hold their context, so none is open any more.
    deinit { _ = retryingInterrupted { zmq_ctx_term(pointer) } }
}
