import CZeroMQ
import Glibc

/// A socket of libzmq; see zmq_socket(3). It belongs to one thread at a time: whoever hands it to another thread uses it no more.
///
/// Messages have one or more parts and are sent and received whole. Nothing here waits but `ZeroMQPoll`.
public final class ZeroMQSocket {
    public enum Kind: Sendable { case router, dealer, pair, reply, request }

    public enum SendOutcome: Sendable, Equatable {
        case sent
        /// The peer's queue is full; nothing of the message was taken.
        case full
        /// A ROUTER that is `mandatory` knows nobody of that name.
        case noPeer
    }

    let pointer: UnsafeMutableRawPointer
    /// Keeps the context until the socket is closed.
    private let context: ZeroMQContext

    public init(_ context: ZeroMQContext, _ kind: Kind, _ options: [ZeroMQOption] = []) throws {
        guard let pointer = zmq_socket(context.pointer, kind.number) else { throw ZeroMQError.last("zmq_socket") }
        self.pointer = pointer
        self.context = context
        do {
            for option in options { try set(option) }
        } catch {
            zmq_close(pointer)
            throw error
        }
    }

    deinit { zmq_close(pointer) }

    private func set(_ option: ZeroMQOption) throws {
        let status =
            switch option.value {
            case .int(var number): zmq_setsockopt(pointer, option.name, &number, MemoryLayout<Int32>.size)
            case .long(var number): zmq_setsockopt(pointer, option.name, &number, MemoryLayout<Int64>.size)
            case .bytes(let bytes): zmq_setsockopt(pointer, option.name, bytes, bytes.count)
            case .text(let text): zmq_setsockopt(pointer, option.name, text, text.utf8.count)
            }
        guard status == 0 else { throw ZeroMQError.last("zmq_setsockopt \(option.name)") }
    }

    /// - Parameter endpoint: such as `tcp://*:5555`, `tcp://127.0.0.1:*` or `ipc:///run/mesh.sock`.
    public func bind(_ endpoint: String) throws {
        guard zmq_bind(pointer, endpoint) == 0 else { throw ZeroMQError.last("zmq_bind \(endpoint)") }
    }

    /// Returns at once; libzmq connects, and connects again, by itself.
    public func connect(_ endpoint: String) throws {
        guard zmq_connect(pointer, endpoint) == 0 else { throw ZeroMQError.last("zmq_connect \(endpoint)") }
    }

    public func disconnect(_ endpoint: String) throws {
        guard zmq_disconnect(pointer, endpoint) == 0 else { throw ZeroMQError.last("zmq_disconnect \(endpoint)") }
    }

    /// Takes no more connections there; those that are there stay.
    public func unbind(_ endpoint: String) throws {
        guard zmq_unbind(pointer, endpoint) == 0 else { throw ZeroMQError.last("zmq_unbind \(endpoint)") }
    }

    /// Readable when something may have come, for who waits for much else besides. What comes while a message is sent may not make it readable: whoever
    /// has sent asks for `hasInput` before it waits (ZMQ_FD in zmq_getsockopt(3)). Only who has received until there was nothing is told of what comes next.
    public var descriptor: Int32 {
        get throws { try option(ZMQ_FD) }
    }

    /// There is a message to be received.
    public var hasInput: Bool {
        get throws { try option(ZMQ_EVENTS) & ZMQ_POLLIN != 0 }
    }

    private func option(_ name: Int32) throws -> Int32 {
        var value: Int32 = 0
        var length = MemoryLayout<Int32>.size
        guard zmq_getsockopt(pointer, name, &value, &length) == 0 else { throw ZeroMQError.last("zmq_getsockopt") }
        return value
    }

    /// What was bound or connected last, with the port that the system chose.
    public var lastEndpoint: String {
        get throws {
            var characters = [CChar](repeating: 0, count: 256)
            var length = characters.count
            guard zmq_getsockopt(pointer, ZMQ_LAST_ENDPOINT, &characters, &length) == 0 else { throw ZeroMQError.last("zmq_getsockopt") }
            return String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }

    /// Sends all parts or none, without waiting. Parts are not copied and stay the caller's.
    /// - Parameter parts: for a ROUTER the first is the name of the peer.
    public func send(_ parts: [ZeroMQPart]) throws -> SendOutcome {
        precondition(!parts.isEmpty, "a message has a part")
        for (place, part) in parts.enumerated() {
            guard try send(part, isLast: place == parts.count - 1) else {
                let code = zmq_errno()
                if code == EAGAIN {
                    // A connection that is lost in the middle takes the parts before with it, and libzmq drops those that are still to come.
                    if place > 0 {
                        for rest in parts.indices.dropFirst(place + 1) { _ = try send(parts[rest], isLast: rest == parts.count - 1) }
                    }
                    return .full
                }
                if place == 0 && code == EHOSTUNREACH { return .noPeer }
                throw ZeroMQError.last("zmq_msg_send")
            }
        }
        return .sent
    }

    private func send(_ part: ZeroMQPart, isLast: Bool) throws -> Bool {
        var message = zmq_msg_t()
        zmq_msg_init(&message)
        guard zmq_msg_copy(&message, part.message) == 0 else { throw ZeroMQError.last("zmq_msg_copy") }
        if retryingInterrupted({ zmq_msg_send(&message, pointer, isLast ? ZMQ_DONTWAIT : ZMQ_DONTWAIT | ZMQ_SNDMORE) }) >= 0 { return true }
        let code = errno
        zmq_msg_close(&message)
        errno = code
        return false
    }

    /// The next message that has fully arrived; nil without one.
    public func receive() throws -> [ZeroMQPart]? {
        var parts: [ZeroMQPart] = []
        repeat {
            let part = ZeroMQPart()
            if retryingInterrupted({ zmq_msg_recv(part.message, pointer, ZMQ_DONTWAIT) }) < 0 {
                // The parts of a message arrive together, so there is never half a message to wait for.
                if parts.isEmpty && zmq_errno() == EAGAIN { return nil }
                throw ZeroMQError.last("zmq_msg_recv")
            }
            parts.append(part)
        } while zmq_msg_more(parts[parts.count - 1].message) == 1
        return parts
    }
}

extension ZeroMQSocket.Kind {
    fileprivate var number: Int32 {
        switch self {
        case .router: ZMQ_ROUTER
        case .dealer: ZMQ_DEALER
        case .pair: ZMQ_PAIR
        case .reply: ZMQ_REP
        case .request: ZMQ_REQ
        }
    }
}
