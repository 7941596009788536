import Foundation

/// Puts mails into a directory as files `<id>.eml`, for development and for whoever collects them from there.
public struct MailSpool: Mailer {
    private let directory: String

    public init(directory: String) { self.directory = directory }

    /// A mail is there whole or not at all, also after a crash; the same again replaces it.
    public func send(_ message: MailMessage) throws {
        do {
            try FileManager.default.createDirectory(
                atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            let path = "\(directory)/\(message.id).eml"
            let file = open(path + ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
            guard file >= 0 else { throw MailError("the spool cannot be written", isFinal: false) }
            let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
            try handle.write(contentsOf: Data(message.text))
            try handle.synchronize()
            guard rename(path + ".new", path) == 0 else { throw MailError("the spool cannot be written", isFinal: false) }
        } catch let error as MailError {
            throw error
        } catch {
            throw MailError("the spool cannot be written", isFinal: false)
        }
    }
}
