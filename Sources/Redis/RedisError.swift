/// Why a call of Redis failed. After all but `refused` the connection is dropped.
public enum RedisError: Error, Equatable {
    /// Nobody answered at the socket.
    case unreachable(String)
    /// Redis was unreachable a moment ago; the call was not tried.
    case away
    /// No connection came free in time.
    case poolExhausted
    /// No answer in time. Whether the command ran is unknown.
    case timedOut
    /// The connection broke. Whether the command ran is unknown.
    case lost(String)
    /// Redis answered with an error, such as `NOSCRIPT No matching script.`; the connection is still good.
    case refused(String)
}
