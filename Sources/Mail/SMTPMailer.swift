import CCurl
import Foundation

/// Hands mails to a server by SMTP submission (RFC 6409), over libcurl: https://curl.se/libcurl/c/smtp-tls.html. One connection for each mail.
public struct SMTPMailer: Mailer {
    private let url: String
    private let user: String
    private let password: String
    private let needsTLS: Bool
    private let timeoutSeconds: Int

    /// - Parameters:
    ///   - url: `smtps://host:465`, or `smtp://host:587`, where STARTTLS follows.
    ///   - user: empty = without authentication.
    ///   - needsTLS: a server without TLS gets nothing; false only for one on the same machine.
    public init(url: String, user: String, password: String, needsTLS: Bool, timeoutSeconds: Int = 30) {
        self.url = url
        self.user = user
        self.password = password
        self.needsTLS = needsTLS
        self.timeoutSeconds = timeoutSeconds
    }

    public func send(_ message: MailMessage) throws {
        guard MailMessage.isAddress(message.to), MailMessage.isAddress(message.from) else {
            throw MailError("the address is none", isFinal: true)
        }
        _ = curlIsReady
        guard let easy = curl_easy_init() else { throw MailError("out of memory", isFinal: false) }
        defer { curl_easy_cleanup(easy) }
        let upload = Upload(message.text)
        let context = Unmanaged.passUnretained(upload)
        let recipients = curl_slist_append(nil, "<\(message.to)>")
        defer { curl_slist_free_all(recipients) }
        curl_shim_set_long(easy, CURLOPT_NOSIGNAL, 1)
        curl_shim_set_string(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps")
        curl_shim_set_string(easy, CURLOPT_NOPROXY, "*")
        curl_shim_set_string(easy, CURLOPT_URL, url)
        curl_shim_set_long(easy, CURLOPT_USE_SSL, Int(needsTLS ? CURLUSESSL_ALL.rawValue : CURLUSESSL_TRY.rawValue))
        curl_shim_set_long(easy, CURLOPT_CONNECTTIMEOUT_MS, 10_000)
        curl_shim_set_long(easy, CURLOPT_TIMEOUT_MS, timeoutSeconds * 1_000)
        if !user.isEmpty {
            curl_shim_set_string(easy, CURLOPT_USERNAME, user)
            curl_shim_set_string(easy, CURLOPT_PASSWORD, password)
        }
        curl_shim_set_string(easy, CURLOPT_MAIL_FROM, "<\(message.from)>")
        curl_shim_set_list(easy, CURLOPT_MAIL_RCPT, recipients)
        curl_shim_set_long(easy, CURLOPT_UPLOAD, 1)
        curl_shim_set_bytes_function(easy, CURLOPT_READFUNCTION, giveBytes)
        curl_shim_set_pointer(easy, CURLOPT_READDATA, context.toOpaque())
        let result = withExtendedLifetime(upload) { curl_easy_perform(easy) }
        guard result == CURLE_OK else { throw Self.error(result, answer: curl_shim_response_code(easy)) }
    }

    /// 5xx of the server is its last word (RFC 5321 §4.2.1).
    private static func error(_ result: CURLcode, answer: Int) -> MailError {
        let words = String(cString: curl_easy_strerror(result))
        let isFinal = (500..<600).contains(answer) && (result == CURLE_SEND_ERROR || result == CURLE_WEIRD_SERVER_REPLY)
        return MailError(answer > 0 ? "\(words) (\(answer))" : words, isFinal: isFinal)
    }
}

/// What is left to be sent of a mail.
private final class Upload {
    let bytes: [UInt8]
    var sent = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }
}

private func giveBytes(_ place: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?) -> Int {
    guard let place, let context else { return 0 }
    let upload = Unmanaged<Upload>.fromOpaque(context).takeUnretainedValue()
    let part = min(size * count, upload.bytes.count - upload.sent)
    upload.bytes.withUnsafeBytes { bytes in
        if part > 0, let start = bytes.baseAddress { memcpy(place, start + upload.sent, part) }
    }
    upload.sent += part
    return part
}

private let curlIsReady: Void = { curl_global_init(Int(CURL_GLOBAL_SSL)) }()
