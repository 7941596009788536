import CS3
import Glibc
import Threads

/// The store by libs3, which signs with Signature V2; see libs3.h and https://github.com/bji/libs3.
///
/// Each call drives a request context of its own until it is done or late: libs3's blocking calls have no deadline. A context that has served
/// well is kept, and its connection with it.
final class V2Store: ObjectStore {
    private let settings: StoreSettings
    /// `host:port`
    private let host: String
    private let proto: S3Protocol
    private let idle = Lock<[IdleContext]>([])

    private static let mostIdle = 16
    /// libs3 signs with the first 64 bytes of a longer one, which no store would take.
    private static let longestSecret = 64
    /// libs3 must be told once in a process, before it is used; the status is that of the only call.
    private static let initialized = S3_initialize("xerotier", S3_INIT_ALL, nil)

    /// A context is in the list or driven by one call, never both, so only one thread uses it at a time.
    private struct IdleContext: @unchecked Sendable { let context: RequestContext }

    init(_ settings: StoreSettings) throws {
        guard Self.initialized == S3StatusOK else { throw StoreError.refused("libs3 does not start") }
        guard settings.secretKey.utf8.count <= Self.longestSecret else { throw StoreError.refused("SecretKeyTooLong") }
        self.settings = settings
        let isPlain = settings.url.hasPrefix("http://")
        proto = isPlain ? S3ProtocolHTTP : S3ProtocolHTTPS
        host = String(settings.url.dropFirst(isPlain ? 7 : 8))
    }

    func put(_ key: String, _ bytes: [UInt8]) throws {
        let call = V2Call(source: bytes)
        try perform(call, key) { bucket, context, data in
            var handler = S3PutObjectHandler(responseHandler: responseHandler, putObjectDataCallback: giveBytes)
            S3_put_object(&bucket, key, UInt64(bytes.count), nil, context, &handler, data)
        }
    }

    func get(_ key: String, range: Range<Int>?, _ receive: (UnsafeRawBufferPointer) throws -> Void) throws {
        // libs3 takes no bytes for all bytes.
        if let range, range.isEmpty { return }
        try withoutActuallyEscaping(receive) { receive in
            let call = V2Call(receive: receive)
            try perform(call, key) { bucket, context, data in
                var handler = S3GetObjectHandler(responseHandler: responseHandler, getObjectDataCallback: takeBytes)
                S3_get_object(
                    &bucket, key, nil, UInt64(range?.lowerBound ?? 0), UInt64(range?.count ?? 0), context, &handler, data)
            }
            // To libs3 a connection that closes in the middle is an end like any other.
            guard call.received == call.length else { throw StoreError.unavailable("an object broke off") }
            if call.length == 0 { try checkEmpty(key) }
        }
    }

    func size(of key: String) throws -> Int? {
        let call = V2Call()
        do {
            try perform(call, key) { bucket, context, data in
                var handler = responseHandler
                S3_head_object(&bucket, key, context, &handler, data)
            }
        } catch StoreError.noSuchKey {
            return nil
        }
        if call.length == 0 { try checkEmpty(key) }
        return call.length
    }

    /// libs3 says 0 also where the answer broke off before its `Content-Length`. Lists say it better, and empty objects are rare.
    private func checkEmpty(_ key: String) throws {
        let found = try list(prefix: key, after: nil, limit: 1).objects.first
        guard found?.key == key, found?.bytes == 0 else { throw StoreError.unavailable("an answer broke off") }
    }

    func delete(_ key: String) throws {
        do {
            try perform(V2Call(), key) { bucket, context, data in
                var handler = responseHandler
                S3_delete_object(&bucket, key, context, &handler, data)
            }
        } catch StoreError.noSuchKey {
            return
        }
    }

    func list(prefix: String, after: String?, limit: Int) throws -> StoredObjects {
        let call = V2Call()
        try perform(call, prefix.isEmpty ? nil : prefix, isPrefix: true) { bucket, context, data in
            var handler = S3ListBucketHandler(responseHandler: responseHandler, listBucketCallback: takeListing)
            S3_list_bucket(&bucket, prefix, after, nil, Int32(limit), context, &handler, data)
        }
        return call.listing
    }

    func presignedGet(_ key: String, seconds: Int) throws -> String {
        try ObjectKey.check(key)
        // S3_MAX_AUTHENTICATED_QUERY_STRING_SIZE is below this for the keys and hosts that libs3 takes.
        var buffer = [CChar](repeating: 0, count: 4096)
        let status = withBucket { S3_generate_authenticated_query_string(&buffer, &$0, key, Int64(time(nil)) + Int64(seconds), nil) }
        guard status == S3StatusOK else { throw error(status) }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Starts a request and drives it to its end.
    private func perform(
        _ call: V2Call, _ key: String?, isPrefix: Bool = false,
        _ start: (inout S3BucketContext, OpaquePointer, UnsafeMutableRawPointer) -> Void
    ) throws {
        if let key { try ObjectKey.check(isPrefix ? key + "x" : key) }
        let context = try idle.withLock { $0.popLast() }?.context ?? RequestContext()
        let end = ContinuousClock.now + settings.timeout
        withBucket { start(&$0, context.pointer, Unmanaged.passUnretained(call).toOpaque()) }
        while !call.isOver {
            guard ContinuousClock.now < end else { break }
            context.advance()
        }
        guard call.isOver else {
            // This calls back a last time, before it returns.
            context.destroy()
            throw StoreError.unavailable("no answer within \(settings.timeout)")
        }
        if let failure = call.failure { throw failure }
        guard call.status == S3StatusOK else { throw error(call.status) }
        let kept = IdleContext(context: context)
        idle.withLock { if $0.count < Self.mostIdle { $0.append(kept) } }
    }

    private func withBucket<Value>(_ body: (inout S3BucketContext) -> Value) -> Value {
        host.withCString { host in
            settings.bucket.withCString { bucket in
                settings.accessKey.withCString { accessKey in
                    settings.secretKey.withCString { secretKey in
                        var context = S3BucketContext(
                            hostName: host, bucketName: bucket, protocol: proto, uriStyle: S3UriStylePath, accessKeyId: accessKey,
                            secretAccessKey: secretKey)
                        return body(&context)
                    }
                }
            }
        }
    }

    private func error(_ status: S3Status) -> StoreError {
        let name = String(cString: S3_get_status_name(status))
        switch status {
        case S3StatusErrorNoSuchKey, S3StatusHttpErrorNotFound: return .noSuchKey
        case S3StatusErrorAccessDenied, S3StatusErrorInvalidAccessKeyId, S3StatusErrorSignatureDoesNotMatch,
            S3StatusErrorRequestTimeTooSkewed, S3StatusErrorNoSuchBucket, S3StatusErrorInvalidBucketName, S3StatusErrorNotImplemented,
            S3StatusErrorAccountProblem, S3StatusErrorNotSignedUp, S3StatusErrorMethodNotAllowed, S3StatusHttpErrorBadRequest,
            S3StatusHttpErrorForbidden, S3StatusServerFailedVerification, S3StatusErrorInvalidArgument, S3StatusErrorEntityTooLarge,
            S3StatusErrorPermanentRedirect, S3StatusHttpErrorMovedTemporarily, S3StatusErrorTemporaryRedirect,
            S3StatusErrorInvalidSecurity:
            return .refused(name)
        default: return .unavailable(name)
        }
    }
}

/// Owns an `S3RequestContext`.
private final class RequestContext {
    private var owned: OpaquePointer?
    var pointer: OpaquePointer { owned! }

    init() throws {
        guard S3_create_request_context(&owned) == S3StatusOK, owned != nil else {
            throw StoreError.unavailable("libs3 is out of memory")
        }
    }

    deinit { destroy() }

    func destroy() {
        guard let context = owned else { return }
        owned = nil
        S3_destroy_request_context(context)
    }

    /// Does what can be done, and waits a little for more.
    func advance() {
        var left: Int32 = 0
        guard S3_runonce_request_context(pointer, &left) == S3StatusOK, left > 0 else { return }
        var (reads, writes, errors) = (fd_set(), fd_set(), fd_set())
        s3_shim_clear(&reads)
        s3_shim_clear(&writes)
        s3_shim_clear(&errors)
        var most: Int32 = -1
        // Descriptors that select(2) cannot watch are not in the sets; those are looked at often instead.
        guard S3_get_request_context_fdsets(pointer, &reads, &writes, &errors, &most) == S3StatusOK, most >= 0 else {
            usleep(1_000)
            return
        }
        var limit = timeval(tv_sec: 0, tv_usec: 50_000)
        select(most + 1, &reads, &writes, &errors, &limit)
    }
}

/// What one request gives and gets; libs3's callbacks fill it in, on the thread that drives the request.
private final class V2Call {
    private let source: [UInt8]
    private var sent = 0
    private let receive: ((UnsafeRawBufferPointer) throws -> Void)?
    private(set) var received = 0
    /// The answer's `Content-Length`.
    private(set) var length: Int?
    private(set) var listing = StoredObjects(objects: [], hasMore: false)
    private(set) var status = S3StatusInternalError
    private(set) var isOver = false
    /// Thrown by `receive`: Swift errors cannot cross C frames.
    private(set) var failure: (any Error)?

    init(source: [UInt8] = [], receive: ((UnsafeRawBufferPointer) throws -> Void)? = nil) {
        self.source = source
        self.receive = receive
    }

    static func of(_ data: UnsafeMutableRawPointer?) -> V2Call { Unmanaged<V2Call>.fromOpaque(data!).takeUnretainedValue() }

    func noteLength(_ length: UInt64) {
        // It says "none" by -1.
        self.length = Int64(bitPattern: length) < 0 ? nil : Int(length)
    }

    func complete(_ status: S3Status) {
        self.status = status
        isOver = true
    }

    func give(_ buffer: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(buffer.count, source.count - sent)
        source.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[sent..<sent + count])) }
        sent += count
        return count
    }

    func take(_ bytes: UnsafeRawBufferPointer) -> S3Status {
        received += bytes.count
        do {
            try receive?(bytes)
            return S3StatusOK
        } catch {
            failure = error
            return S3StatusAbortedByCallback
        }
    }

    func take(_ objects: UnsafeBufferPointer<S3ListBucketContent>, hasMore: Bool) {
        listing.objects += objects.map {
            StoredObject(key: String(cString: $0.key), bytes: Int($0.size), modifiedAt: Int($0.lastModified))
        }
        listing.hasMore = hasMore
    }
}

private let responseHandler = S3ResponseHandler(propertiesCallback: noteProperties, completeCallback: noteEnd)

private func noteProperties(_ properties: UnsafePointer<S3ResponseProperties>?, _ data: UnsafeMutableRawPointer?) -> S3Status {
    if let properties { V2Call.of(data).noteLength(properties.pointee.contentLength) }
    return S3StatusOK
}

private func noteEnd(_ status: S3Status, _ details: UnsafePointer<S3ErrorDetails>?, _ data: UnsafeMutableRawPointer?) {
    V2Call.of(data).complete(status)
}

private func giveBytes(_ size: Int32, _ buffer: UnsafeMutablePointer<CChar>?, _ data: UnsafeMutableRawPointer?) -> Int32 {
    Int32(V2Call.of(data).give(UnsafeMutableRawBufferPointer(start: buffer, count: Int(size))))
}

private func takeBytes(_ size: Int32, _ bytes: UnsafePointer<CChar>?, _ data: UnsafeMutableRawPointer?) -> S3Status {
    V2Call.of(data).take(UnsafeRawBufferPointer(start: bytes, count: Int(size)))
}

private func takeListing(
    _ isTruncated: Int32, _ next: UnsafePointer<CChar>?, _ count: Int32, _ contents: UnsafePointer<S3ListBucketContent>?,
    _ prefixCount: Int32, _ prefixes: UnsafeMutablePointer<UnsafePointer<CChar>?>?, _ data: UnsafeMutableRawPointer?
) -> S3Status {
    V2Call.of(data).take(UnsafeBufferPointer(start: contents, count: Int(count)), hasMore: isTruncated != 0)
    return S3StatusOK
}
