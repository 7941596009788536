import CFastCGI
import Dispatch
import Glibc
import Synchronization
import Threads

/// Where requests come from: something that calls a handler for each, and can be told to stop.
public protocol Front: Sendable {
    /// Serves until `drain` was called and the last request has ended.
    func run(_ handler: @escaping @Sendable (borrowing Exchange) -> Void)
    /// Takes no new connection; `run` returns when nginx has closed those that there are.
    func drain()
}

/// Serves FastCGI with one thread per connection.
///
/// nginx keeps connections open, and a kept connection holds its thread, busy or idle. So one acceptor takes a connection only
/// when a thread is free for it; the others stay in the listening socket's backlog, where another process may take them.
///
/// It never closes a connection that nginx wants to keep, not even while it drains: nginx may be sending the next request into it at that moment,
/// and that request would be lost. nginx closes connections that are idle or some seconds old (`keepalive_timeout`, `keepalive_time`).
public final class ThreadedFront: Front {
    private let listener: Int32
    private let threads: Int
    private let stop: Int32
    private let draining = Atomic<Bool>(false)
    private let accepted = Lock<[Int32]>([])
    private let freeThreads = DispatchSemaphore(value: 0)
    private let connections = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)
    private let busyCount = Atomic<Int>(0)

    /// - Parameter listener: a listening socket, shared with other processes; descriptor 0 by FastCGI's convention.
    public init(listener: Int32 = 0, threads: Int) {
        self.listener = listener
        self.threads = threads
        stop = fastcgi_shim_eventfd()
        _ = fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK)
        FCGX_Init()
        // libfcgi has installed its own handlers; a closed connection is an error of write(2), not a signal.
        signal(SIGPIPE, SIG_IGN)
        signal(SIGUSR1, SIG_IGN)
    }

    deinit { close(stop) }

    /// Connections that hold a thread now.
    public var connectionCount: Int { busyCount.load(ordering: .relaxed) }

    public func run(_ handler: @escaping @Sendable (borrowing Exchange) -> Void) {
        for _ in 0..<threads {
            startThread("request") {
                self.serveConnections(handler)
                self.ended.signal()
            }
        }
        acceptConnections()
        for _ in 0..<threads { connections.signal() }
        for _ in 0..<threads { ended.wait() }
    }

    public func drain() {
        draining.store(true, ordering: .sequentiallyConsistent)
        var one: UInt64 = 1
        write(stop, &one, 8)
        freeThreads.signal()
    }

    private func acceptConnections() {
        while true {
            freeThreads.wait()
            guard let connection = nextConnection() else { return }
            accepted.withLock { $0.append(connection) }
            connections.signal()
        }
    }

    /// nil = draining.
    private func nextConnection() -> Int32? {
        while !draining.load(ordering: .sequentiallyConsistent) {
            var waits = [pollfd(fd: listener, events: Int16(POLLIN), revents: 0), pollfd(fd: stop, events: Int16(POLLIN), revents: 0)]
            poll(&waits, 2, -1)
            guard waits[1].revents == 0 else { return nil }
            let connection = fastcgi_shim_accept(listener)
            if connection >= 0 { return connection }
            // Another process took it (EAGAIN), the client left (ECONNABORTED), or descriptors ran out: wait a little rather than spin.
            if errno == EMFILE || errno == ENFILE || errno == ENOMEM { usleep(10_000) }
        }
        return nil
    }

    private func serveConnections(_ handler: (borrowing Exchange) -> Void) {
        // The library must never accept by itself: with no listening socket its accept(2) fails and gives the thread back.
        let request = UnsafeMutablePointer<FCGX_Request>.allocate(capacity: 1)
        defer { request.deallocate() }
        while true {
            freeThreads.signal()
            connections.wait()
            guard let connection = accepted.withLock({ $0.popLast() }) else { return }
            busyCount.add(1, ordering: .relaxed)
            FCGX_InitRequest(request, -1, 0)
            request.pointee.ipcFd = connection
            // FCGX_Accept_r first finishes the request before; this tells it to leave the connection open.
            request.pointee.keepConnection = 1
            serve(request, handler)
            busyCount.subtract(1, ordering: .relaxed)
        }
    }

    /// Until nginx, which has its answer, closes: to close with bytes unread could take the answer back.
    private static func readUntilClosed(_ connection: Int32) {
        withUnsafeTemporaryAllocation(byteCount: 64 << 10, alignment: 16) { buffer in
            var wait = pollfd(fd: connection, events: Int16(POLLIN), revents: 0)
            while poll(&wait, 1, 5_000) > 0, recv(connection, buffer.baseAddress, buffer.count, 0) > 0 {}
        }
    }

    /// Serves the requests of one connection until nginx closes it.
    private func serve(_ request: UnsafeMutablePointer<FCGX_Request>, _ handler: (borrowing Exchange) -> Void) {
        let turn = Turn()
        while FCGX_Accept_r(request) == 0 {
            turn.bodyBytes = 0
            handler(Exchange(request: request, turn: turn))
            FCGX_Finish_r(request)
            if turn.leavesBody {
                Self.readUntilClosed(request.pointee.ipcFd)
                break
            }
            if request.pointee.ipcFd < 0 { return }
        }
        FCGX_Free(request, 1)
    }
}
