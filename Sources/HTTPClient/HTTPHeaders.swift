import CCurl

/// Header lines that many requests share, kept in curl's form.
public final class HTTPHeaders: @unchecked Sendable {
    // Sendable because the list is built in init, only read afterwards, and freed by the last owner.
    let list: UnsafeMutablePointer<curl_slist>?

    /// - Parameter lines: such as `Accept: application/json`.
    public init(_ lines: [String]) {
        // An empty value takes the header away: a body is never held back for "100 Continue".
        list = (lines + ["Expect:"]).reduce(nil) { list, line in curl_slist_append(list, line) ?? list }
    }

    deinit { curl_slist_free_all(list) }
}
