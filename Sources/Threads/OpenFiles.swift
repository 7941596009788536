import Glibc

/// The limit of open files; see getrlimit(2).
public enum OpenFiles {
    /// Raises the soft limit to the hard one.
    /// - Returns: the limit from now on.
    @discardableResult
    public static func raise() -> UInt {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return UInt(limit.rlim_max)
    }
}
