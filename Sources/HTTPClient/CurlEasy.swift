import Addresses
import CCurl
import Glibc

/// An easy handle (https://curl.se/libcurl/c/libcurl-easy.html) with what every connection of ours must keep to: http and https only, no proxy,
/// only addresses that the settings allow, and the shared certificates.
final class CurlEasy {
    let handle: UnsafeMutableRawPointer
    private let settings: HTTPClientSettings
    /// Whether the last address was one that is not allowed.
    var isBlocked = false

    init(_ settings: HTTPClientSettings, bufferSize: Int) {
        globalInit
        guard let handle = curl_easy_init() else { fatalError("out of memory") }
        self.handle = handle
        self.settings = settings
        let context = Unmanaged.passUnretained(self).toOpaque()
        curl_shim_set_long(handle, CURLOPT_NOSIGNAL, 1)
        curl_shim_set_long(handle, CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        curl_shim_set_string(handle, CURLOPT_PROTOCOLS_STR, "http,https")
        curl_shim_set_string(handle, CURLOPT_NOPROXY, "*")
        curl_shim_set_long(handle, CURLOPT_CONNECTTIMEOUT_MS, Int(settings.connectTimeout.roundedUpMilliseconds))
        curl_shim_set_long(handle, CURLOPT_TCP_NODELAY, 1)
        curl_shim_set_long(handle, CURLOPT_TCP_KEEPALIVE, 1)
        curl_shim_set_long(handle, CURLOPT_BUFFERSIZE, bufferSize)
        curl_shim_set_string(handle, CURLOPT_CAINFO, nil)
        curl_shim_set_string(handle, CURLOPT_CAPATH, nil)
        curl_shim_set_tls_function(handle, useSharedAuthorities)
        curl_shim_set_pointer(handle, CURLOPT_SSL_CTX_DATA, context)
        curl_shim_set_socket_function(handle, openGuardedSocket)
        curl_shim_set_pointer(handle, CURLOPT_OPENSOCKETDATA, context)
    }

    deinit { curl_easy_cleanup(handle) }

    fileprivate func useAuthorities(of tls: OpaquePointer) { settings.authorities.use(in: tls) }

    /// The address checked here is the one that curl connects to, so a name cannot change its mind in between.
    fileprivate func openSocket(to address: UnsafeMutablePointer<curl_sockaddr>) -> Int32 {
        // The address goes on past the end of its declared type, so it must not be copied.
        guard let offset = MemoryLayout<curl_sockaddr>.offset(of: \.addr) else { return -1 }
        let target = UnsafeRawPointer(address).advanced(by: offset).assumingMemoryBound(to: sockaddr.self)
        let wanted = address.pointee
        guard let ip = IPAddress(target, length: wanted.addrlen), settings.isAllowed(ip) else {
            isBlocked = true
            return -1
        }
        isBlocked = false
        return socket(wanted.family, wanted.socktype | Int32(SOCK_CLOEXEC.rawValue), wanted.protocol)
    }
}

private let globalInit: Void = { curl_global_init(Int(CURL_GLOBAL_SSL)) }()

private func easy(_ context: UnsafeMutableRawPointer) -> CurlEasy { Unmanaged.fromOpaque(context).takeUnretainedValue() }

/// curl would read the system's certificates for each handle: 1 MB and some 20 ms. All handles share one store instead.
private func useSharedAuthorities(handle: UnsafeMutableRawPointer?, tls: UnsafeMutableRawPointer?, context: UnsafeMutableRawPointer?)
    -> CURLcode
{
    guard let context, let tls else { return CURLE_SSL_CERTPROBLEM }
    easy(context).useAuthorities(of: OpaquePointer(tls))
    return CURLE_OK
}

private func openGuardedSocket(
    context: UnsafeMutableRawPointer?, purpose: curlsocktype, address: UnsafeMutablePointer<curl_sockaddr>?
) -> Int32 {
    guard let context, let address else { return -1 }
    return easy(context).openSocket(to: address)
}
