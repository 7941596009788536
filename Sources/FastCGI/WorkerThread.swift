import Glibc

/// Starts a detached thread with the given stack. Blocking C calls are made on such threads, never on Swift's cooperative pool.
///
/// The body is `@Sendable` and must not be isolated to an actor; see pthread_create(3).
public func startThread(stackSize: Int = 256 << 10, _ body: @escaping @Sendable () -> Void) {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setstacksize(&attributes, stackSize)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    var thread = pthread_t()
    let boxed = Unmanaged.passRetained(ThreadBody(run: body))
    let status = pthread_create(&thread, &attributes, runThread, boxed.toOpaque())
    precondition(status == 0, "pthread_create failed with \(status): the limit of processes or memory is reached")
}

private final class ThreadBody: Sendable {
    let run: @Sendable () -> Void
    init(run: @escaping @Sendable () -> Void) { self.run = run }
}

private func runThread(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    if let context { Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().run() }
    return nil
}
