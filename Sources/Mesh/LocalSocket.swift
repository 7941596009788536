import Glibc

/// UNIX stream sockets between the processes of a machine; see unix(7). All of them are non-blocking.
public enum LocalSocket {
    /// Takes the path, also from a process that has ended and left it.
    /// - Throws: `LocalSocketError`.
    public static func listen(at path: String) throws(LocalSocketError) -> Int32 {
        let descriptor = try make()
        unlink(path)
        do throws(LocalSocketError) {
            guard try withAddress(path, { bind(descriptor, $0, $1) }) == 0 else { throw LocalSocketError("bind", path) }
            guard chmod(path, 0o660) == 0 else { throw LocalSocketError("chmod", path) }
            guard Glibc.listen(descriptor, SOMAXCONN) == 0 else { throw LocalSocketError("listen", path) }
        } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }

    /// The next connection that waits; nil without one.
    public static func accept(from listener: Int32) -> Int32? {
        let descriptor = Glibc.accept(listener, nil, nil)
        guard descriptor >= 0 else { return nil }
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        return descriptor
    }

    /// - Throws: `LocalSocketError`; nobody listens there, or so many wait that there is no room.
    public static func connect(to path: String) throws(LocalSocketError) -> Int32 {
        let descriptor = try make()
        do throws(LocalSocketError) {
            guard try withAddress(path, { Glibc.connect(descriptor, $0, $1) }) == 0 else { throw LocalSocketError("connect", path) }
        } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }

    private static func make() throws(LocalSocketError) -> Int32 {
        let kind = SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue
        let descriptor = socket(AF_UNIX, Int32(kind), 0)
        guard descriptor >= 0 else { throw LocalSocketError("socket", "") }
        return descriptor
    }

    private static func withAddress(
        _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) throws(LocalSocketError) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            errno = ENAMETOOLONG
            throw LocalSocketError("bind", path)
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }
}

/// A call of the system that has failed, by `errno`.
public struct LocalSocketError: Error, CustomStringConvertible {
    public let code = errno
    private let call: String
    private let path: String

    init(_ call: String, _ path: String) {
        (self.call, self.path) = (call, path)
    }

    public var description: String { "\(call) \(path): \(String(cString: strerror(code)))" }
}
