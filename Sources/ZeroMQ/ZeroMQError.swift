import CZeroMQ
import Glibc

/// Why libzmq would not do something.
public enum ZeroMQError: Error, Equatable, CustomStringConvertible {
    /// The context has ended: whoever works on a socket of it closes that and stops.
    case terminated
    /// A key that is not 40 characters of Z85.
    case invalidKey
    /// A call that must work failed; the message is libzmq's.
    case failed(String, code: Int32)

    public var description: String {
        switch self {
        case .terminated: "the ZeroMQ context has ended"
        case .invalidKey: "a CURVE key is 40 characters of Z85"
        case .failed(let what, _): what
        }
    }

    static func last(_ call: String) -> ZeroMQError {
        let code = zmq_errno()
        return code == zeroMQTerminated ? .terminated : .failed("\(call): \(String(cString: zmq_strerror(code)))", code: code)
    }
}

/// ETERM and EFSM are sums of casts in zmq.h, which Swift does not import.
let zeroMQTerminated: Int32 = 156_384_712 + 53

/// Calls again while a signal interrupts it; see zmq_msg_recv(3). The error of any other failure is the caller's to look at.
func retryingInterrupted(_ body: () -> Int32) -> Int32 {
    while true {
        let status = body()
        if status >= 0 || zmq_errno() != EINTR { return status }
    }
}
