/// What an agent is called on the router's socket: its worker id and a secret of this start, so that nobody can take its place (decision 0018).
public struct AgentName: Hashable, Sendable {
    /// As it stands before the parts of a message.
    public let bytes: [UInt8]
    public let workerID: String

    private static let nonceLength = 16

    /// - Parameter nonce: 16 bytes of a generator that is fit for keys.
    public init(workerID: String, nonce: [UInt8]) {
        precondition(nonce.count == Self.nonceLength && !workerID.isEmpty, "a name has a worker id and a nonce of 16 bytes")
        let digits = nonce.flatMap { [Self.digit($0 >> 4), Self.digit($0 & 15)] }
        bytes = Array(workerID.utf8) + [UInt8(ascii: "/")] + digits
        self.workerID = workerID
    }

    /// nil where it is no name that an agent of ours would take. Whether it is the sender's is for the caller to see: by the worker id of its key.
    public init?(_ bytes: [UInt8]) {
        guard bytes.count <= 255, let slash = bytes.lastIndex(of: UInt8(ascii: "/")), slash > 0 else { return nil }
        let digits = bytes[(slash + 1)...]
        guard digits.count == 2 * Self.nonceLength, digits.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }),
            bytes[..<slash].allSatisfy({ 0x21...0x7e ~= $0 })
        else { return nil }
        self.bytes = bytes
        workerID = String(decoding: bytes[..<slash], as: UTF8.self)
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x61 + value - 10 }
}
