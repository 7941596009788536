import Accounts
import ArgumentParser
import Foundation
import OpenAI

struct KeyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Manages API keys.", subcommands: [Create.self, Revoke.self, List.self])

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Makes a key; its value is shown only here.")

        @Option(help: "Slug of the project.") var project: String
        @Option(help: "What the key is for, 1 to 64 characters.") var name: String
        @Option(help: "Comma list of inference, management, execution.") var scopes = "inference"
        @Option(help: "Slug of the only endpoint the key may use.") var endpoint: String?
        @Option(help: "Days until the key expires, 1 to 3650.") var expiresInDays: Int?
        @Option(help: "Unix time at which the key expires.") var expiresAt: Int?

        func validate() throws {
            guard expiresAt == nil || expiresInDays == nil else {
                throw ValidationError("--expires-at and --expires-in-days exclude each other.")
            }
            if let expiresInDays, !(1...3_650).contains(expiresInDays) {
                throw ValidationError("--expires-in-days is from 1 to 3650, not \(expiresInDays).")
            }
            if let expiresAt, !(0...253_402_300_799).contains(expiresAt) {
                throw ValidationError("--expires-at is a unix time in seconds, not \(expiresAt).")
            }
        }

        func run() throws {
            let days = expiresInDays.map { Int(Date().timeIntervalSince1970) + $0 * 86_400 }
            let names = scopes.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
            let key = NewKey(name: name, scopes: names, endpoint: endpoint, expiresAt: expiresAt ?? days)
            try withProject(project) { connection, _ in try printJSON(try connection.createKey(key)) }
        }
    }

    struct Revoke: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Ends a key for good.")

        @Option(help: "The key's identifier, key_….") var id: String

        func run() throws {
            guard let keyID = ID<APIKey>(id) else { throw ValidationError("--id is not the identifier of a key (key_…).") }
            try withSettings { settings in
                guard let project = try settings.system.withConnection({ try $0.project(of: keyID) }),
                    let key = try settings.tenants.withConnection(of: project, { try $0.revokeKey(keyID) })
                else { throw Failure("--id: There is no key \(id).") }
                Invalidation(settings).publish("key:\(id)")
                try printJSON(key)
            }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the keys of a project.")

        @Option(help: "Slug of the project.") var project: String

        func run() throws {
            try withProject(project) { connection, _ in try printJSON(try connection.keys()) }
        }
    }
}
