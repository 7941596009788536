import CThreads
import Glibc

/// Starts a detached thread. Blocking C calls are made on such threads, never on Swift's cooperative pool.
///
/// The body must not be isolated to an actor; see pthread_create(3).
/// - Parameters:
///   - name: shown by top(1) and debuggers, at most 15 bytes of it.
///   - stackSize: small by default, since thousands of threads serve requests; the body must not recurse deeply.
public func startThread(_ name: String, stackSize: Int = 256 << 10, _ body: @escaping @Sendable () -> Void) {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setstacksize(&attributes, stackSize)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    var thread = pthread_t()
    let boxed = Unmanaged.passRetained(ThreadBody(name: name, run: body))
    let status = pthread_create(&thread, &attributes, runThread, boxed.toOpaque())
    precondition(status == 0, "pthread_create failed with \(status): the limit of processes or memory is reached")
}

/// Prepares the kernel for a process of many threads: locks and semaphores that are waited on lie in a table of its own, and newer kernels size
/// that by the cores alone. In a table of 16 lists every wake-up would then go past thousands of idle threads. To be called once, at the start.
public func prepareForThreads(_ count: Int) {
    var slots = 16
    while slots < 2 * count { slots *= 2 }
    // Older kernels refuse: they have one large table for all processes.
    _ = threads_shim_set_futex_slots(UInt(slots))
}

private final class ThreadBody: Sendable {
    let name: String
    let run: @Sendable () -> Void

    init(name: String, run: @escaping @Sendable () -> Void) {
        self.name = String(name.prefix(15))
        self.run = run
    }
}

private func runThread(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let context else { return nil }
    let body = Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue()
    pthread_setname_np(pthread_self(), body.name)
    body.run()
    return nil
}
