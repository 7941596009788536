/// The names that projects and endpoints have in paths (01 §3).
public enum Slug {
    /// First segments that mean something else.
    public static let reserved: Set<String> = [
        "v1", "api", "auth", "admin", "agents", "artifact-frame", "assets", "batches", "billing", "chat", "completions", "conversations",
        "dashboard", "dl", "docs", "endpoints", "exports", "files", "gdpr", "graph", "healthz", "join", "metrics", "models", "ops",
        "projects", "readyz", "responses", "settings", "slos", "static", "status", "usage", "workspaces",
    ]

    /// `^[a-z][a-z0-9-]{0,38}[a-z0-9]$`, whether reserved or not.
    public static func isProject(_ text: String) -> Bool {
        guard (2...40).contains(text.utf8.count), let first = text.utf8.first, isLetter(first) else { return false }
        return hasForm(text)
    }

    /// `^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?$`, whether reserved or not.
    public static func isEndpoint(_ text: String) -> Bool {
        guard (1...48).contains(text.utf8.count), let first = text.utf8.first, first != UInt8(ascii: "-") else { return false }
        return hasForm(text)
    }

    private static func hasForm(_ text: String) -> Bool {
        text.utf8.last != UInt8(ascii: "-")
            && text.utf8.allSatisfy { isLetter($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "-") }
    }

    private static func isLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) }
}
