import OpenAI
import Testing

@Suite struct ErrorCodeTests {
    @Test(arguments: [
        (ErrorCode.modelNotFound, 404, 40404, "not_found_error"), (.scopeInsufficient, 403, 40300, "authentication_error"),
        (.crossProjectAccess, 403, 40301, "forbidden_error"), (.capacityExceeded, 429, 42902, "service_error"),
        (.quotaExceeded, 429, 42901, "quota_error"), (.streamInterrupted, 200, 60002, "stream_error"),
        (.clientClosedRequest, 499, 49900, "cancelled"), (.unsupportedMediaType, 415, 41500, "invalid_request_error"),
    ])
    func statusNumberAndTypeFollowTheTable(code: ErrorCode, status: Int, number: Int, type: String) {
        #expect(code.status == status && code.number == number && code.type == type)
    }
}
