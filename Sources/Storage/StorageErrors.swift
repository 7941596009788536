import ObjectStore
import OpenAI

/// A store that is away, or does not let us, is our fault and may pass; what is lost is lost.
extension StoreError: APIErrorConvertible {
    public var apiError: APIError {
        switch self {
        case .unavailable, .refused:
            APIError(.storageUnavailable, "What is stored cannot be reached at the moment. Please retry.", retryAfter: 5)
        case .noSuchKey, .badKey: APIError(.storageCorrupt, "What is stored for this request cannot be read any more.")
        }
    }
}

public enum StorageError: APIErrorConvertible, Equatable {
    /// There is no such file of the project.
    case noSuchFile(String)
    /// The project may store no more.
    case quota(limit: Int)
    /// Somebody took the object that was being written for given up.
    case givenUp

    public var apiError: APIError {
        switch self {
        case .noSuchFile(let id): APIError(.fileNotFound, "There is no file '\(id.prefix(64))'.", param: "file_id")
        case .quota(let limit):
            APIError(
                .quotaExceeded, "The project may store \(limit) bytes, and this would be more. Delete something first.", retryAfter: 60,
                strategy: .quota)
        case .givenUp: APIError(.storageUnavailable, "The upload took too long. Please retry.", retryAfter: 5)
        }
    }
}
