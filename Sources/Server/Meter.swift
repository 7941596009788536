/// What a request of a route is metered by, and so what it may cost. Every route says it.
public enum Meter: Sendable, Equatable {
    /// Nothing: the request leaves no usage row and is not charged.
    case none
    /// A usage row of this surface for each accepted request, which is charged and counts against limits.
    case usage(Surface)
}

/// The parts of the API that usage rows tell apart (08 §6).
public enum Surface: String, Sendable {
    case chat, completions, responses, embeddings, rerank, score, batch, memory, tool
    case webSearch = "web_search"
}
