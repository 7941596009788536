import Foundation

/// A file of journal lines that this process owns by its lock (flock). Closing gives the ownership up; the kernel does it for a killed process.
///
/// It belongs to one thread at a time.
final class JournalFile {
    let path: String
    private let descriptor: Int32
    /// The length of what is complete and durable.
    private var length: off_t = 0

    /// Makes a new file in `directory`, durable with its name.
    init(newIn directory: String, process: String) throws {
        while true {
            let path = "\(directory)/\(process)-\(UInt64.random(in: 0...UInt64.max)).jsonl"
            let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else { throw JournalError.system("open", errno) }
            // A scan of another process may have taken and removed the empty file between the two calls.
            var status = stat()
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0, fstat(descriptor, &status) == 0, status.st_nlink == 1 {
                self.path = path
                self.descriptor = descriptor
                try Self.synchronize(directory: directory)
                return
            }
            close(descriptor)
        }
    }

    /// Takes over a file whose owner is dead; nil when it is in use or gone.
    init?(adopting path: String) {
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        var status = stat()
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0, fstat(descriptor, &status) == 0, status.st_nlink == 1 else {
            close(descriptor)
            return nil
        }
        self.path = path
        self.descriptor = descriptor
        length = status.st_size
    }

    deinit { close(descriptor) }

    /// Returns when `bytes` are on the disk. When it throws the file is as before.
    func append(_ bytes: [UInt8]) throws {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                pwrite(descriptor, buffer.baseAddress! + written, bytes.count - written, length + off_t(written))
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw undo(JournalError.system("write", errno)) }
            written += count
        }
        guard fdatasync(descriptor) == 0 else { throw undo(JournalError.system("fdatasync", errno)) }
        length += off_t(bytes.count)
    }

    func contents() throws -> [UInt8] {
        guard let data = FileManager.default.contents(atPath: path) else { throw JournalError.system("read", errno) }
        return Array(data)
    }

    func remove() throws {
        guard unlink(path) == 0 else { throw JournalError.system("unlink", errno) }
    }

    /// Puts the file out of the way of replays, for the operator to look at.
    func setAside() throws {
        guard rename(path, path + ".damaged") == 0 else { throw JournalError.system("rename", errno) }
    }

    /// Takes a partial write back. Where even that fails, the CRC tells the rest apart.
    private func undo(_ error: JournalError) -> JournalError {
        ftruncate(descriptor, length) == 0 ? error : .system("ftruncate", errno)
    }

    private static func synchronize(directory: String) throws {
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw JournalError.system("open", errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw JournalError.system("fsync", errno) }
    }
}

enum JournalError: Error, CustomStringConvertible {
    case system(String, Int32)

    var description: String {
        switch self {
        case .system(let call, let number): "\(call): \(String(cString: strerror(number)))"
        }
    }
}
