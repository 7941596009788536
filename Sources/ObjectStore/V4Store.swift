import Crypto
import Foundation
import HTTPClient

/// The store by our own HTTP client, signing with Signature V4.
struct V4Store: ObjectStore {
    private let settings: StoreSettings
    private let signature: V4Signature
    private let client: HTTPClient
    private let now: @Sendable () -> Date

    /// An answer that is no object is a list of 1,000 keys at most, or an error.
    private static let longestDocument = 4 << 20

    /// - Parameter now: what signatures say the time is.
    init(_ settings: StoreSettings, now: @escaping @Sendable () -> Date = { Date() }) {
        self.settings = settings
        self.now = now
        signature = V4Signature(
            accessKey: settings.accessKey, secretKey: settings.secretKey, region: settings.region,
            host: String(settings.url.drop { $0 != "/" }.drop { $0 == "/" }))
        var options = HTTPClientSettings()
        options.receiveBuffer = 128 << 10
        options.connectTimeout = min(settings.timeout, .seconds(5))
        client = HTTPClient(options)
    }

    func put(_ key: String, _ bytes: [UInt8]) throws {
        let answer = try send(.put, key, body: bytes)
        guard answer.status == 200 else { throw error(answer) }
    }

    func get(_ key: String, range: Range<Int>?, _ receive: (UnsafeRawBufferPointer) throws -> Void) throws {
        if let range, range.isEmpty { return }
        let wanted = range.map { "bytes=\($0.lowerBound)-\($0.upperBound - 1)" }
        let answer = try withoutActuallyEscaping(receive) { try send(.get, key, range: wanted, $0) }
        guard answer.isObject else { throw error(answer) }
    }

    func size(of key: String) throws -> Int? {
        let answer = try send(.head, key)
        if answer.status == 404 { return nil }
        guard answer.status == 200 else { throw error(answer) }
        return answer.length
    }

    func delete(_ key: String) throws {
        let answer = try send(.delete, key)
        guard [200, 204, 404].contains(answer.status) else { throw error(answer) }
    }

    func list(prefix: String, after: String?, limit: Int) throws -> StoredObjects {
        let query = [(name: "prefix", value: prefix), ("marker", after ?? ""), ("max-keys", String(limit))]
        let answer = try send(.get, nil, query: query)
        guard answer.status == 200 else { throw error(answer) }
        guard let listing = StoreXML.listing(answer.document) else { throw StoreError.unavailable("no list of objects came") }
        return listing
    }

    func presignedGet(_ key: String, seconds: Int) throws -> String {
        let path = try path(key)
        return "\(settings.url)\(path)?\(signature.presignedQuery(path: path, seconds: seconds, at: now()))"
    }

    private struct Answer {
        var status = 0
        var length: Int?
        var isObject = false
        /// Of an answer that is no object.
        var document: [UInt8] = []
    }

    private func path(_ key: String?) throws -> String {
        guard let key else { return "/\(settings.bucket)" }
        try ObjectKey.check(key)
        return "/\(settings.bucket)/\(key)"
    }

    /// - Parameter receive: gets the bytes of an object that was found.
    private func send(
        _ method: HTTPRequest.Method, _ key: String?, query: [(name: String, value: String)] = [], range: String? = nil,
        body: [UInt8] = [], _ receive: ((UnsafeRawBufferPointer) throws -> Void)? = nil
    ) throws -> Answer {
        let path = try path(key)
        let digest = Hexadecimal.text(SHA256.digest(body).bytes)
        let headers = signature.headers(method.rawValue, path: path, query: query, bodyDigest: digest, at: now(), range: range)
        let url = settings.url + path + (query.isEmpty ? "" : "?" + V4Signature.canonical(query))
        let lines = headers.map { "\($0.name): \($0.value)" } + ["Accept-Encoding: identity"]
        let transfer = client.start(HTTPRequest(method, url, headers: HTTPHeaders(lines), body: body))
        let end = ContinuousClock.now + settings.timeout
        var answer = Answer()
        while true {
            switch transfer.next(until: end) {
            case .head(let head):
                answer.status = head.status
                answer.length = head.value(of: "Content-Length").flatMap { Int($0) }
                // To a range the whole object is a wrong answer.
                answer.isObject = receive != nil && head.status == (range == nil ? 200 : 206)
            case .body(let bytes):
                if let receive, answer.isObject {
                    try receive(bytes)
                } else {
                    guard answer.document.count + bytes.count <= Self.longestDocument else {
                        throw StoreError.unavailable("an answer is too long")
                    }
                    answer.document.append(contentsOf: bytes)
                }
            case .finished: return answer
            case .failed(let failure):
                if failure.kind == .untrusted { throw StoreError.refused("the certificate is not trusted") }
                throw StoreError.unavailable("\(failure.kind): \(failure.message)")
            case .timedOut, .extraDescriptorReady: throw StoreError.unavailable("no answer within \(settings.timeout)")
            }
        }
    }

    private func error(_ answer: Answer) -> StoreError {
        let code = StoreXML.errorCode(answer.document) ?? "status \(answer.status)"
        switch (answer.status, code) {
        case (_, "NoSuchBucket"): return .refused(code)
        case (404, _): return .noSuchKey
        // Passing, although their status says that it is our fault.
        case (_, "RequestTimeout"), (_, "OperationAborted"), (408, _), (429, _): return .unavailable(code)
        case (300...499, _), (501, _): return .refused(code)
        default: return .unavailable(code)
        }
    }
}
