import Crypto
import OpenAI

/// The header `Idempotency-Key` of one request: what makes two requests the same one (04 §9).
package struct IdempotencyKey: Sendable {
    static let header = "Idempotency-Key"
    private static let longest = 255

    package let project: ID<Project>
    /// SHA-256 of who asks, method, path and key, in base64url.
    package let scope: String
    /// SHA-256 of the body as it came.
    package let fingerprint: [UInt8]

    /// - Returns: nil where the request has none, or is no POST.
    /// - Throws: `APIError` 400 unless it is 1 to 255 printable ASCII characters.
    init?(_ request: Request, of principal: Principal) throws {
        guard request.method == Method.post.rawValue, let text = request.header("HTTP_IDEMPOTENCY_KEY") else { return nil }
        try self.init(text, method: request.method, path: request.path, body: request.body, of: principal)
    }

    package init(_ text: String, method: String, path: String, body: [UInt8], of principal: Principal) throws {
        guard (1...Self.longest).contains(text.utf8.count), text.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
            throw APIError.invalid(Self.header, "'\(Self.header)' must be 1 to \(Self.longest) printable ASCII characters.")
        }
        project = principal.projectID
        // Neither identifiers nor methods, and no header, hold a NUL; a path that does is no other path's.
        let parts = [principal.keyID.description, method, text, path]
        scope = Base64URL.encode(SHA256.digest(parts.joined(separator: "\0")).bytes)
        fingerprint = SHA256.digest(body).bytes
    }
}
