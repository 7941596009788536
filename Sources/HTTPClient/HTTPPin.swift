import Addresses
import CCurl

/// The only addresses under which a host is looked for, kept in curl's form (https://curl.se/libcurl/c/CURLOPT_RESOLVE.html).
public final class HTTPPin: @unchecked Sendable {
    // Sendable because the list is built in init, only read afterwards, and freed by the last owner.
    let list: UnsafeMutablePointer<curl_slist>?

    public init(host: String, port: Int, addresses: [IPAddress]) {
        let written = addresses.map { $0.bytes.count == 4 ? $0.text : "[\($0.text)]" }
        list = curl_slist_append(nil, "\(host):\(port):\(written.joined(separator: ","))")
    }

    deinit { curl_slist_free_all(list) }
}
