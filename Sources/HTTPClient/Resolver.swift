import Addresses
import CCurl
import Glibc
import Threads

/// Finds the addresses of a host, all of them, A and AAAA. Empty = there is no such host, or nobody answered in time.
public typealias Resolve = @Sendable (_ host: String, _ limit: Duration) -> [IPAddress]

/// The system's resolver; see getaddrinfo(3).
public enum SystemResolver {
    /// It works on a thread of its own, since it cannot be interrupted; one that is late is left to end alone.
    public static func resolve(_ host: String, within limit: Duration) -> [IPAddress] {
        let found = Monitor<[IPAddress]?>(nil)
        startThread("resolve") {
            let addresses = addresses(of: host)
            found.change { $0 = addresses }
        }
        return found.wait(atMost: limit / .seconds(1), while: { $0 == nil }, then: { $0 ?? [] })
    }

    private static func addresses(of host: String) -> [IPAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        let entries = sequence(first: list) { $0?.pointee.ai_next }.prefix { $0 != nil }
        return entries.compactMap { entry in
            entry.flatMap { entry in entry.pointee.ai_addr.flatMap { IPAddress($0, length: entry.pointee.ai_addrlen) } }
        }
    }
}

/// The addresses of this machine's interfaces; see getifaddrs(3).
enum OwnAddresses {
    static func read() -> Set<IPAddress> {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return [] }
        defer { freeifaddrs(list) }
        let entries = sequence(first: list) { $0?.pointee.ifa_next }.prefix { $0 != nil }
        return Set(
            entries.compactMap { entry in
                entry.flatMap { $0.pointee.ifa_addr.flatMap { IPAddress($0, length: UInt32(MemoryLayout<sockaddr_in6>.size)) } }
            })
    }
}
