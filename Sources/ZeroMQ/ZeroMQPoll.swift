import CZeroMQ
import Glibc

/// Waits for sockets and descriptors together; see zmq_poll(3), which reads a socket's events anew after each wake, as its edge-triggered
/// descriptor demands.
public struct ZeroMQPoll {
    public enum Item {
        /// Readable, and writable too where that is waited for.
        case socket(ZeroMQSocket, orWritable: Bool = false)
        case descriptor(Int32)
    }

    /// - Returns: for each item whether it is ready; nothing is when the time is up.
    /// - Throws: `ZeroMQError.terminated` when the context has ended.
    public static func wait(for items: [Item], atMost limit: Duration) throws -> [Bool] {
        var list = items.map { item in
            switch item {
            case .socket(let socket, let orWritable):
                zmq_pollitem_t(socket: socket.pointer, fd: 0, events: Int16(orWritable ? ZMQ_POLLIN | ZMQ_POLLOUT : ZMQ_POLLIN), revents: 0)
            case .descriptor(let descriptor): zmq_pollitem_t(socket: nil, fd: descriptor, events: Int16(ZMQ_POLLIN), revents: 0)
            }
        }
        let end = ContinuousClock.now + limit
        while true {
            let rest = max(.zero, ContinuousClock.now.duration(to: end)).components
            // Rounded up: 0 would spin through the last millisecond.
            let milliseconds = Int(rest.seconds) * 1_000 + Int((rest.attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
            if zmq_poll(&list, Int32(list.count), milliseconds) >= 0 { return list.map { $0.revents != 0 } }
            guard zmq_errno() == EINTR else { throw ZeroMQError.last("zmq_poll") }
        }
    }
}
