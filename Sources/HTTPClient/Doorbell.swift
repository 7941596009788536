import CCurl
import Glibc

/// Wakes a thread that waits on descriptors (https://man7.org/linux/man-pages/man2/eventfd.2.html).
package final class Doorbell: Sendable {
    /// Readable from a ring until it is taken back; for who waits for more than two things.
    package let descriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))

    package enum Outcome: Sendable { case rung, descriptorReady, timedOut }

    package init() {}
    deinit { close(descriptor) }

    package func ring() { eventfd_write(descriptor, 1) }

    /// Takes a ring back, so that the next wait waits for another.
    package func silence() {
        var count: eventfd_t = 0
        eventfd_read(descriptor, &count)
    }

    /// Waits for a ring, for the other descriptor to be readable or closed, or for the time to pass.
    package func wait(until instant: ContinuousClock.Instant, orDescriptor other: Int32? = nil) -> Outcome {
        switch waitForInput(descriptor, other ?? -1, until: instant) {
        case .first: .rung
        case .second: .descriptorReady
        case .timedOut: .timedOut
        }
    }

    /// Waits for the time to pass; true when the descriptor became readable or closed before.
    package static func pause(until instant: ContinuousClock.Instant, unless descriptor: Int32?) -> Bool {
        waitForInput(-1, descriptor ?? -1, until: instant) == .second
    }
}

package enum InputOutcome: Sendable { case first, second, timedOut }

/// Waits for one of two descriptors to be readable, the second also to be closed by its peer; see poll(2). The first has precedence; -1 is none.
package func waitForInput(_ first: Int32, _ second: Int32, until instant: ContinuousClock.Instant) -> InputOutcome {
    let readable = Int16(POLLIN)
    let peerClosed: Int16 = 0x2000  // POLLRDHUP, which Swift does not import
    while true {
        let one = pollfd(fd: first, events: readable, revents: 0)
        var items = (one, pollfd(fd: second, events: readable | peerClosed, revents: 0))
        let milliseconds = (instant - .now).roundedUpMilliseconds
        _ = withUnsafeMutableBytes(of: &items) { poll($0.baseAddress?.assumingMemoryBound(to: pollfd.self), 2, milliseconds) }
        if items.0.revents != 0 { return .first }
        if items.1.revents != 0 { return .second }
        if instant <= .now { return .timedOut }
    }
}
