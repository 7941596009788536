/// Header lines that many requests share, as they go out.
public struct HTTPHeaders: Sendable {
    let texts: [String]
    let lines: [UInt8]

    /// - Parameter texts: such as `Accept: application/json`, without line breaks.
    public init(_ texts: [String]) {
        self.texts = texts
        lines = texts.flatMap { Array($0.utf8) + [13, 10] }
    }
}
