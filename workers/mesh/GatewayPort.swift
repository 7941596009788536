import CEpoll
import Glibc
import Mesh
import ZeroMQ

/// A gateway's connection. It has one request at a time; one that is closed is a gateway that is gone.
final class GatewayConnection {
    /// Of the request that it has.
    var requestID: String?
    fileprivate let descriptor: Int32
    fileprivate var input = MessageStream()
    fileprivate var output: [UInt8] = []
    /// Bytes of the output that have gone.
    fileprivate var sent = 0
    fileprivate var isInFlush = false
    fileprivate var isWaitingForRoom = false
    /// To be closed when the output has gone.
    fileprivate var isEnding = false
    fileprivate var isClosed = false

    fileprivate init(_ descriptor: Int32) { self.descriptor = descriptor }
}

/// Where the gateways of this machine come in: a UNIX socket (`infra/decisions/0019`). It belongs to the thread of the router.
///
/// What is sent goes out with `flush`, so that frames which come together are one write, and wake once. Credits bound what waits for a gateway.
final class GatewayPort {
    enum Event {
        case message(Message)
        /// Its gateway has closed it, or says what cannot be read.
        case lost
    }

    /// What a wait has found beside gateways, by its descriptor.
    typealias Others = Set<Int32>

    private static let mostEvents = 256
    private static let keptOutput = 64 << 10

    private let descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
    private var listener: Int32
    private var connections: [Int32: GatewayConnection] = [:]
    private var flushes: [GatewayConnection] = []
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 16)
    private let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: mostEvents)

    /// - Parameter others: descriptors that are waited for too.
    /// - Throws: `LocalSocketError`.
    init(at path: String, others: [Int32]) throws {
        listener = try LocalSocket.listen(at: path)
        for descriptor in others + [listener] { watch(descriptor, EPOLL_CTL_ADD, EPOLLIN) }
    }

    deinit {
        for connection in connections.values { Glibc.close(connection.descriptor) }
        Glibc.close(listener)
        Glibc.close(descriptor)
        buffer.deallocate()
        events.deallocate()
    }

    /// Waits, and takes all that has come; see epoll_wait(2).
    /// - Returns: the other descriptors that are readable.
    func receive(atMost milliseconds: Int32, _ take: (Event, GatewayConnection) throws -> Void) throws -> Others {
        var others: Others = []
        let count = epoll_wait(descriptor, events, Int32(Self.mostEvents), milliseconds)
        for event in UnsafeBufferPointer(start: events, count: Int(max(0, count))) {
            if event.data.fd == listener {
                accept()
            } else if let connection = connections[event.data.fd] {
                if event.events & EPOLLOUT.rawValue != 0 { write(connection) }
                if event.events & ~EPOLLOUT.rawValue != 0 { try read(connection, take) }
            } else {
                others.insert(event.data.fd)
            }
        }
        return others
    }

    private func accept() {
        while let descriptor = LocalSocket.accept(from: listener) {
            connections[descriptor] = GatewayConnection(descriptor)
            watch(descriptor, EPOLL_CTL_ADD, EPOLLIN)
        }
        // Who waits is still there when the next round comes: a little later rather than at once.
        if errno == EMFILE || errno == ENFILE || errno == ENOMEM { usleep(1_000) }
    }

    private func read(_ connection: GatewayConnection, _ take: (Event, GatewayConnection) throws -> Void) throws {
        guard !connection.isClosed else { return }
        let count = recv(connection.descriptor, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
        if count < 0 && (errno == EAGAIN || errno == EINTR) { return }
        if count > 0 { connection.input.append(UnsafeRawBufferPointer(rebasing: buffer[..<count])) }
        var isLost = count <= 0
        while !isLost && !connection.isEnding {
            switch Result(catching: { () throws(FrameError) in try connection.input.next(from: .gateway) }) {
            case .success(nil): return
            case .success(let message?): try take(.message(message), connection)
            case .failure: isLost = true
            }
        }
        guard isLost else { return }
        close(connection)
        try take(.lost, connection)
    }

    // MARK: - Sending

    func send(_ message: Message, to connection: GatewayConnection) {
        message.append(to: &connection.output)
        hasMore(connection)
    }

    /// Goes out with what follows it, or with `hasMore`.
    func prepare(_ message: Message, to connection: GatewayConnection) { message.append(to: &connection.output) }

    /// A message of an agent, as it came.
    func relay(_ parts: ArraySlice<ZeroMQPart>, to connection: GatewayConnection) {
        Message.append(parts, to: &connection.output)
        hasMore(connection)
    }

    func hasMore(_ connection: GatewayConnection) {
        guard !connection.isInFlush else { return }
        connection.isInFlush = true
        flushes.append(connection)
    }

    /// Closes it when all that was sent has gone.
    func end(_ connection: GatewayConnection) {
        connection.isEnding = true
        hasMore(connection)
    }

    func flush() {
        for connection in flushes {
            connection.isInFlush = false
            write(connection)
        }
        flushes.removeAll(keepingCapacity: true)
    }

    private func write(_ connection: GatewayConnection) {
        guard !connection.isClosed else { return }
        while connection.sent < connection.output.count {
            let count = connection.output.withUnsafeBytes { bytes in
                Glibc.send(
                    connection.descriptor, bytes.baseAddress! + connection.sent, bytes.count - connection.sent,
                    Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
            }
            if count < 0 && errno == EINTR { continue }
            // A gateway that is gone is found out by reading.
            guard count > 0 else { return wait(errno == EAGAIN, for: connection) }
            connection.sent += count
        }
        connection.sent = 0
        connection.output.removeAll(keepingCapacity: connection.output.capacity <= Self.keptOutput)
        wait(false, for: connection)
        if connection.isEnding { close(connection) }
    }

    private func wait(_ isWaiting: Bool, for connection: GatewayConnection) {
        guard isWaiting != connection.isWaitingForRoom else { return }
        connection.isWaitingForRoom = isWaiting
        watch(connection.descriptor, EPOLL_CTL_MOD, isWaiting ? EPOLL_EVENTS(EPOLLIN.rawValue | EPOLLOUT.rawValue) : EPOLLIN)
    }

    private func watch(_ descriptor: Int32, _ change: Int32, _ wanted: EPOLL_EVENTS) {
        var event = epoll_event(events: wanted.rawValue, data: epoll_data_t(fd: descriptor))
        let status = epoll_ctl(self.descriptor, change, descriptor, &event)
        precondition(status == 0, "epoll_ctl: \(String(cString: strerror(errno)))")
    }

    private func close(_ connection: GatewayConnection) {
        guard !connection.isClosed else { return }
        connection.isClosed = true
        connections[connection.descriptor] = nil
        Glibc.close(connection.descriptor)
    }

    // MARK: - The end

    /// A gateway has not read yet what was sent to it.
    var hasOutput: Bool { connections.values.contains { $0.sent < $0.output.count } }

    /// Takes no more connections, and closes those that have no request, now and whenever it is called again: gateways go to other routers.
    func drain() {
        if listener >= 0 { Glibc.close(listener) }
        listener = -1
        for connection in connections.values where connection.requestID == nil { end(connection) }
    }
}
