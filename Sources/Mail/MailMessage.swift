import Foundation

/// A mail of plain text to one person.
public struct MailMessage: Sendable, Equatable {
    /// The same for each try, so that receivers can tell that a second copy is one.
    public var id: String
    public var from: String
    public var to: String
    public var subject: String
    public var body: String
    /// Unix seconds.
    public var date: Int

    public init(id: String, from: String, to: String, subject: String, body: String, date: Int) {
        self.id = id
        self.from = from
        self.to = to
        self.subject = subject
        self.body = body
        self.date = date
    }

    /// The mail as RFC 5322 has it: pure ASCII, with lines of at most 76 characters, so that any server takes it. Text that a tenant chose cannot
    /// add a header: subjects are encoded words (RFC 2047), the body is base64.
    public var text: [UInt8] {
        let domain = from.split(separator: "@").last.map(String.init) ?? "localhost"
        var lines = [
            "Date: \(Self.dateText(date))", "From: <\(from)>", "To: <\(to)>", "Subject: \(Self.encodedWords(subject))",
            "Message-ID: <\(id)@\(domain)>", "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: base64", "Auto-Submitted: auto-generated", "",
        ]
        let encoded = Data(body.utf8).base64EncodedString()
        var rest = Substring(encoded)
        while !rest.isEmpty {
            lines.append(String(rest.prefix(76)))
            rest = rest.dropFirst(76)
        }
        return Array((lines.joined(separator: "\r\n") + "\r\n").utf8)
    }

    /// Whether it is one address that can stand in an envelope and a header without saying anything else.
    public static func isAddress(_ text: String) -> Bool {
        text.utf8.count <= 254 && text.wholeMatch(of: /[!#-'*+\/-9=?A-Z^-~.-]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?/) != nil
    }

    /// An encoded word has at most 75 characters, which are 45 bytes of text; a character is not divided.
    private static func encodedWords(_ text: String) -> String {
        var words: [[UInt8]] = [[]]
        for character in text.unicodeScalars {
            let bytes = Array(String(character).utf8)
            if words[words.count - 1].count + bytes.count > 45 { words.append([]) }
            words[words.count - 1] += bytes
        }
        return words.map { "=?utf-8?B?\(Data($0).base64EncodedString())?=" }.joined(separator: "\r\n ")
    }

    /// RFC 5322 §3.3, in UTC.
    private static func dateText(_ seconds: Int) -> String {
        var (time, parts) = (time_t(seconds), tm())
        gmtime_r(&time, &parts)
        let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(days[Int(parts.tm_wday)]), \(two(parts.tm_mday)) \(months[Int(parts.tm_mon)]) \(parts.tm_year + 1900) "
            + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) +0000"
    }
}

/// What takes mails on their way.
public protocol Mailer: Sendable {
    /// Returns when somebody else has taken the responsibility for the mail.
    /// - Throws: `MailError`
    func send(_ message: MailMessage) throws
}

/// Why a mail was not taken.
public struct MailError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Trying again would change nothing, such as for an address that the server refuses.
    public var isFinal: Bool
    /// Without addresses and passwords.
    public var description: String

    public init(_ description: String, isFinal: Bool) {
        self.description = description
        self.isFinal = isFinal
    }
}
