import OpenAI

/// The errors that nginx makes itself and has us render for pages of other origins, by the names they have in its configuration (`errors.conf`).
///
/// Their texts are those of nginx' static answers, which everybody else gets.
enum FrontErrors {
    static func error(named name: String) -> APIError {
        switch name {
        case "not-found": APIError(.notFound, "There is nothing at this path.")
        case "method-not-allowed": APIError(.methodNotAllowed, "This method is not allowed.")
        case "too-large":
            APIError(.requestTooLarge, "The request body is larger than this path accepts (20 MiB for inference, 1 MiB elsewhere).")
        case "headers-too-large":
            APIError(.headersTooLarge, "Request line and headers may have 32 KiB together, and one header 16 KiB.")
        case "unavailable": .unavailable("The service is busy or restarting. Please retry.")
        case "timeout": APIError(.gatewayTimeout, "The request took too long.")
        default: APIError(.internalError, "The request failed inside the platform.")
        }
    }
}
