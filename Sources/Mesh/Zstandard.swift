import CZstd

/// One frame of Zstandard; see facebook.github.io/zstd/zstd_manual.html
enum Zstandard {
    /// The fastest level of the usual ones: what is sent is JSON, which it halves at several hundred MB/s.
    private static let level: Int32 = 1

    /// nil where it would not be shorter.
    static func compress(_ bytes: [UInt8]) -> [UInt8]? {
        var length = 0
        let packed = [UInt8](unsafeUninitializedCapacity: ZSTD_compressBound(bytes.count)) { buffer, filled in
            length = ZSTD_compress(buffer.baseAddress, buffer.count, bytes, bytes.count, level)
            filled = ZSTD_isError(length) == 0 ? length : 0
        }
        return !packed.isEmpty && packed.count < bytes.count ? packed : nil
    }

    /// nil where it is damaged, does not say how long it will be, or would be longer than `limit`.
    static func decompress(_ bytes: UnsafeRawBufferPointer, atMost limit: Int) -> [UInt8]? {
        // Unknown and broken are the two largest numbers.
        let length = ZSTD_getFrameContentSize(bytes.baseAddress, bytes.count)
        guard length <= UInt64(limit) else { return nil }
        // One byte more keeps the buffer's address for an empty content.
        var written = 0
        let plain = [UInt8](unsafeUninitializedCapacity: Int(length) + 1) { buffer, filled in
            written = ZSTD_decompress(buffer.baseAddress, Int(length), bytes.baseAddress, bytes.count)
            filled = ZSTD_isError(written) == 0 ? written : 0
        }
        return ZSTD_isError(written) == 0 && written == Int(length) ? plain : nil
    }
}
