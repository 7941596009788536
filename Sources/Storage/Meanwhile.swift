import Threads

/// What a thread of its own does while its owner goes on. The owner waits for it in the end, so that no thread outlives its request.
struct Meanwhile<Value: Sendable>: Sendable {
    private let outcome = Monitor<Result<Value, any Error>?>(nil)

    init(_ name: String, _ body: @escaping @Sendable () throws -> Value) {
        let outcome = outcome
        startThread(name) {
            let result = Result { try body() }
            outcome.change { $0 = result }
        }
    }

    func wait() throws -> Value { try outcome.wait(while: { $0 == nil }, then: { try $0!.get() }) }
}
