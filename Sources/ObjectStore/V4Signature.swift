import Crypto
import Foundation

/// AWS Signature Version 4 for S3; see docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html. Pure: the time is passed in.
struct V4Signature {
    var accessKey: String
    var secretKey: String
    var region: String
    /// `host:port`, as the Host header says it.
    var host: String

    private static let algorithm = "AWS4-HMAC-SHA256"

    /// The headers that sign a request.
    /// - Parameters:
    ///   - path: with its first slash; of characters that need no escape.
    ///   - query: not yet escaped.
    func headers(
        _ method: String, path: String, query: [(name: String, value: String)] = [], bodyDigest: String, at now: Date,
        range: String? = nil
    ) -> [(name: String, value: String)] {
        let stamp = Self.stamp(now)
        var signed = [("host", host)]
        if let range { signed.append(("range", range)) }
        signed += [("x-amz-content-sha256", bodyDigest), ("x-amz-date", stamp)]
        let names = signed.map(\.0).joined(separator: ";")
        let lines = signed.map { "\($0.0):\($0.1)\n" }.joined()
        let request = [method, path, Self.canonical(query), lines, names, bodyDigest].joined(separator: "\n")
        let authorization =
            "\(Self.algorithm) Credential=\(accessKey)/\(scope(stamp)), SignedHeaders=\(names), Signature=\(signature(of: request, stamp))"
        return signed.dropFirst().map { (name: $0.0, value: $0.1) } + [(name: "Authorization", value: authorization)]
    }

    /// The query of a URL that gets an object without a key of the store.
    func presignedQuery(path: String, seconds: Int, at now: Date) -> String {
        let stamp = Self.stamp(now)
        let query = Self.canonical([
            ("X-Amz-Algorithm", Self.algorithm), ("X-Amz-Credential", "\(accessKey)/\(scope(stamp))"), ("X-Amz-Date", stamp),
            ("X-Amz-Expires", String(seconds)), ("X-Amz-SignedHeaders", "host"),
        ])
        let request = ["GET", path, query, "host:\(host)\n", "host", "UNSIGNED-PAYLOAD"].joined(separator: "\n")
        return "\(query)&X-Amz-Signature=\(signature(of: request, stamp))"
    }

    private func scope(_ stamp: String) -> String { "\(stamp.prefix(8))/\(region)/s3/aws4_request" }

    private func signature(of request: String, _ stamp: String) -> String {
        let text = [Self.algorithm, stamp, scope(stamp), Hexadecimal.text(SHA256.digest(request).bytes)].joined(separator: "\n")
        var key = Array("AWS4\(secretKey)".utf8)
        for part in [String(stamp.prefix(8)), region, "s3", "aws4_request"] { key = HMAC.sha256(key: key, Array(part.utf8)) }
        return Hexadecimal.text(HMAC.sha256(key: key, Array(text.utf8)))
    }

    /// Sorted by name, and escaped as the signature wants it.
    static func canonical(_ query: [(name: String, value: String)]) -> String {
        query.map { (escape($0.name), escape($0.value)) }.sorted { $0.0 < $1.0 }.map { "\($0.0)=\($0.1)" }.joined(separator: "&")
    }

    private static func escape(_ text: String) -> String {
        text.utf8.map { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "~"):
                String(UnicodeScalar(byte))
            default: "%" + Hexadecimal.text([byte]).uppercased()
            }
        }.joined()
    }

    /// `20261126T040000Z`
    private static func stamp(_ date: Date) -> String {
        let compact = Date.ISO8601FormatStyle(dateSeparator: .omitted, timeSeparator: .omitted)
        return date.formatted(compact)
    }
}
