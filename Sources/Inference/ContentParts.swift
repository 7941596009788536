import JSON
import OpenAI

/// What the messages of a request hold beside text, and where.
package struct ContentParts {
    /// `messages[0].content[1]`, of the first part of its kind.
    private(set) var image: String?
    private(set) var audio: String?
    private(set) var file: String?
    /// Nothing but text, as mostly.
    var isEmpty: Bool { image == nil && audio == nil && file == nil }
    /// In the order of the text.
    package private(set) var remoteImages: [RemoteImage] = []
    private var images = 0

    private static let imageLimit = 20
    /// Of one image, decoded (02 §1).
    private static let byteLimit = 20 << 20

    /// - Parameter isTranslated: URLs of images may be placeholders.
    mutating func readImage(_ part: JSONElement, _ path: String, isTranslated: Bool) throws {
        guard let image = part["image_url"], let url = image["url"]?.utf8 else {
            throw APIError(.invalidMessages, "'\(path).image_url.url' must be a string.", param: "\(path).image_url")
        }
        if let detail = image["detail"], !detail.isNull, !["auto", "low", "high"].contains(detail.string) {
            throw APIError.invalid("\(path).image_url.detail", "'\(path).image_url.detail' must be 'auto', 'low' or 'high'.")
        }
        images += 1
        guard images <= Self.imageLimit else {
            throw APIError(.invalidMessages, "A request has at most \(Self.imageLimit) images.", param: "\(path).image_url")
        }
        self.image = self.image ?? path
        let param = "\(path).image_url.url"
        if url.starts(with: "data:".utf8) { return try Self.check(dataURL: url, kind: "image/", param) }
        if isTranslated, url.starts(with: RemoteImage.scheme.utf8) { return }
        guard url.starts(with: "https://".utf8) || url.starts(with: "http://".utf8), url.count <= 8_192 else {
            throw APIError(.unsupportedContent, "An image is an https URL or a data URL.", param: param)
        }
        remoteImages.append(RemoteImage(url: String(decoding: url, as: UTF8.self), param: param))
    }

    mutating func readAudio(_ part: JSONElement, _ path: String) throws {
        guard let input = part["input_audio"], let data = input["data"]?.utf8, let format = input["format"]?.string else {
            throw APIError(
                .invalidMessages, "'\(path).input_audio' must have the strings 'data' and 'format'.", param: "\(path).input_audio")
        }
        guard ["wav", "mp3"].contains(format) else {
            throw APIError.invalid("\(path).input_audio.format", "'\(path).input_audio.format' must be 'wav' or 'mp3'.")
        }
        try Self.check(base64: data, "\(path).input_audio.data")
        audio = audio ?? path
    }

    mutating func readFile(_ part: JSONElement, _ path: String) throws {
        guard let given = part["file"], given.kind == .object else {
            throw APIError(.invalidMessages, "'\(path).file' must be an object.", param: "\(path).file")
        }
        if let id = given["file_id"], !id.isNull {
            guard let id = id.string else {
                throw APIError(.invalidMessages, "'\(path).file.file_id' must be a string.", param: "\(path).file.file_id")
            }
            throw APIError(.fileNotFound, "There is no file '\(id.prefix(64))'.", param: "\(path).file.file_id")
        }
        guard let data = given["file_data"]?.utf8 else {
            throw APIError(.invalidMessages, "'\(path).file' must have 'file_id' or 'file_data'.", param: "\(path).file")
        }
        let param = "\(path).file.file_data"
        if data.starts(with: "data:".utf8) { try Self.check(dataURL: data, kind: "", param) } else { try Self.check(base64: data, param) }
        file = file ?? path
    }

    /// `data:image/png;base64,…`, the type's kind as given.
    private static func check(dataURL url: UnsafeRawBufferPointer, kind: String, _ param: String) throws {
        let type = url.dropFirst("data:".utf8.count).prefix { $0 != UInt8(ascii: ",") }
        guard type.starts(with: kind.utf8), type.reversed().starts(with: ";base64".utf8.reversed()), type.endIndex < url.endIndex else {
            throw APIError(.unsupportedContent, "A data URL is 'data:\(kind.isEmpty ? "" : kind)…;base64,…' here.", param: param)
        }
        try check(base64: UnsafeRawBufferPointer(rebasing: url[(type.endIndex + 1)...]), param)
    }

    private static func check(base64 text: UnsafeRawBufferPointer, _ param: String) throws {
        let padding = text.suffix(2).count { $0 == UInt8(ascii: "=") }
        guard text.count % 4 == 0, !text.isEmpty, text.dropLast(padding).allSatisfy(isBase64) else {
            throw APIError.invalid(param, "'\(param)' is not valid base64.")
        }
        guard text.count / 4 * 3 - padding <= byteLimit else {
            throw APIError.invalid(param, "'\(param)' is larger than the limit of \(byteLimit) bytes.")
        }
    }

    private static func isBase64(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "+"), UInt8(ascii: "/"): true
        default: false
        }
    }
}

/// An image that a request names by its URL.
package struct RemoteImage: Sendable, Equatable {
    package var url: String
    /// The member that holds it.
    package var param: String

    package init(url: String, param: String) {
        self.url = url
        self.param = param
    }

    /// What stands for a URL until the image is fetched.
    static let scheme = "x-xerotier-image:"

    /// Nobody can guess it: the request's id is random, and known after the request alone.
    static func placeholder(_ number: Int, of requestID: String) -> String { "\(scheme)\(requestID):\(number):" }
}
