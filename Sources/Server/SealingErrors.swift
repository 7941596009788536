import Crypto
import OpenAI

/// What is stored and cannot be opened is lost to the client, and says nothing of why (03 §1).
extension SealingError: APIErrorConvertible {
    public var apiError: APIError {
        switch self {
        case .cannotOpen, .noKey: APIError(.storageCorrupt, "What is stored for this request cannot be read any more.")
        case .badMasterKey, .unknownMasterKey, .internalFault: APIError(.internalError, "The server failed to answer.")
        }
    }
}
