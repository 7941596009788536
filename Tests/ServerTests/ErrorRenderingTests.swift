import Foundation
import OpenAI
import Server
import Testing

@Suite struct ErrorRenderingTests {
    static let id = "req_0123456789abcdefghijklmn"

    struct Rendered {
        var error: [String: Any] = [:]
        var headers: [String: String] = [:]
        var status = 0
    }

    static func render(_ error: any Error) throws -> Rendered {
        let response = ErrorRendering.response(ErrorRendering.apiError(error), requestID: id)
        guard case .bytes(let bytes) = response.body else { throw CocoaError(.featureUnsupported) }
        let object = try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any]
        let pairs = response.headers.map { ($0.name, $0.value) }
        return Rendered(
            error: try #require(object?["error"] as? [String: Any]), headers: Dictionary(pairs) { $1 }, status: response.status)
    }

    @Test func theEnvelopeHasAllMembers() throws {
        let found = try Self.render(APIError(.invalidValue, "'n' must be \"1\"\n.", param: "n"))
        #expect(found.status == 400 && found.headers["Content-Type"] == "application/json")
        #expect(
            found.error as NSDictionary == [
                "message": "'n' must be \"1\"\n.", "type": "invalid_request_error", "code": "invalid_value", "param": "n",
                "x_number": 40030,
                "x_request_id": Self.id,
            ])
        #expect(try Self.render(APIError(.notFound, "x")).error["param"] is NSNull)
    }

    @Test func theEnvelopeIsOneLine() {
        let bytes = ErrorRendering.envelope(APIError(.streamError, "a\r\nb"), requestID: Self.id)
        #expect(!bytes.contains(10) && !bytes.contains(13))
    }

    @Test(arguments: [
        (ErrorCode.rateLimitExceeded, RetryStrategy.rate(refillMilliseconds: 1_500), "fixed_delay", 1_500, 60_000),
        (.concurrencyExceeded, .concurrency, "exponential_backoff", 250, 10_000),
        (.capacityExceeded, .capacity, "exponential_backoff", 1_000, 60_000), (.quotaExceeded, .quota, "none", 0, 0),
    ])
    func a429SaysHowToRetry(code: ErrorCode, strategy: RetryStrategy, type: String, initial: Int, most: Int) throws {
        let found = try Self.render(APIError(code, "x", retryAfter: 7, strategy: strategy))
        #expect(found.headers["Retry-After"] == "7" && found.error["retry_after"] as? Int == 7)
        #expect(
            found.error["retry_strategy"] as? NSDictionary == [
                "type": type, "initial_delay_ms": initial, "max_delay_ms": most, "multiplier": 2.0, "jitter": 0.2,
            ])
    }

    /// The SDKs retry 408, 409, 429 and 5xx by themselves.
    @Test(
        arguments: [
            (.quotaExceeded, "false"), (.rateLimitExceeded, nil), (.serviceUnavailable, nil), (.internalError, nil),
            (.upstreamError, nil), (.requestTimeout, nil), (.authenticationError, nil), (.invalidValue, nil),
        ] as [(ErrorCode, String?)])
    func clientsAreToldNotToRetryWhatCannotSucceed(code: ErrorCode, header: String?) throws {
        #expect(try Self.render(APIError(code, "x")).headers["X-Should-Retry"] == header)
    }

    @Test(arguments: [ErrorCode.serviceUnavailable, .draining, .endpointInactive, .noWorkerAvailable, .capacityExceeded])
    func a503OrA429AlwaysSaysWhenToComeBack(code: ErrorCode) throws {
        #expect(try Self.render(APIError(code, "x")).headers["Retry-After"] == "1")
        #expect(try Self.render(APIError(code, "x", retryAfter: 9)).headers["Retry-After"] == "9")
    }

    @Test func a503HasNoStrategy() throws {
        let found = try Self.render(APIError.unavailable())
        #expect(found.error["retry_strategy"] == nil && found.error["retry_after"] == nil)
    }

    @Test func otherErrorsBecome500WithoutDetails() throws {
        let found = try Self.render(CocoaError(.fileNoSuchFile, userInfo: [NSFilePathErrorKey: "/etc/secret"]))
        #expect(found.status == 500 && found.error["code"] as? String == "internal_error")
        #expect(!"\(found.error)".contains("secret"))
    }

    @Test func headersOfTheErrorAreSent() throws {
        var error = APIError(.methodNotAllowed, "x")
        error.headers = [("Allow", "GET")]
        #expect(try Self.render(error).headers["Allow"] == "GET")
    }

    @Test func tooLargeHeadersHaveTheirOwnStatusAndTheCommonCode() throws {
        let found = try Self.render(APIError(.headersTooLarge, "x"))
        #expect(found.status == 431 && found.error["code"] as? String == "request_too_large" && found.error["x_number"] as? Int == 41300)
        #expect(found.error["type"] as? String == "invalid_request_error")
    }
}
