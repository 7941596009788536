import Accounts
import ArgumentParser
import Foundation
import OpenAI
import Server
import Tenancy

struct KeyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Manages API keys.",
        subcommands: [Create.self, Revoke.self, Rotate.self, IPFilter.self, Quota.self, List.self])

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Makes a key; its value is shown only here.")

        @Option(help: "Slug of the project.") var project: String
        @Option(help: "What the key is for, 1 to 64 characters.") var name: String
        @Option(help: "Comma list of inference, management, execution.") var scopes = "inference"
        @Option(help: "Slug of the only endpoint the key may use.") var endpoint: String?
        @Option(help: "Days until the key expires, 1 to 3650.") var expiresInDays: Int?
        @Option(help: "Unix time at which the key expires.") var expiresAt: Int?
        @Option(help: "E-mail address of the user the key acts for; without it the key is the operator's.") var createdBy: String?
        @Flag(help: "The key outlives its creator's membership.") var service = false

        func validate() throws {
            guard expiresAt == nil || expiresInDays == nil else {
                throw ValidationError("--expires-at and --expires-in-days exclude each other.")
            }
            if let expiresInDays, !(1...KeyRules.longestDays).contains(expiresInDays) {
                throw ValidationError("--expires-in-days is from 1 to \(KeyRules.longestDays), not \(expiresInDays).")
            }
            if let expiresAt, !(0...KeyRules.lastSecond).contains(expiresAt) {
                throw ValidationError("--expires-at is a unix time in seconds, not \(expiresAt).")
            }
        }

        func run() throws {
            let names = scopes.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
            try withProject(project) { connection, settings in
                let key = NewKey(
                    name: name, scopes: try KeyRules.scopes(names), endpoint: endpoint,
                    expiry: expiresAt.map(KeyExpiry.at) ?? expiresInDays.map(KeyExpiry.inDays) ?? .never, isService: service)
                var actor = AuditActor.migrate
                actor.userID = try createdBy.map { email in
                    try settings.system.withConnection { try $0.requireUser(email: email).description }
                }
                try printJSON(connection.createKey(key, by: actor))
            }
        }
    }

    struct Revoke: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Ends a key for good.")

        @OptionGroup var key: KeyOption

        /// Doing it again changes nothing.
        func run() throws {
            try key.change { connection, id in
                do {
                    return try connection.revokeKey(id, by: .migrate)
                } catch AccountError.noSuchKey {
                    return try connection.key(id, for: .migrate)
                }
            }
        }
    }

    struct Rotate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Gives a key a new value, shown only here; the old one is good for the grace.")

        @OptionGroup var key: KeyOption
        @Option(help: "Seconds, 0 to 604800.") var graceSeconds = KeyRules.defaultGrace

        func validate() throws {
            guard (0...KeyRules.longestGrace).contains(graceSeconds) else {
                throw ValidationError("--grace-seconds is from 0 to \(KeyRules.longestGrace), not \(graceSeconds).")
            }
        }

        func run() throws { try key.change { try $0.rotateKey($1, grace: Double(graceSeconds), by: .migrate) } }
    }

    struct IPFilter: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Sets from where a key may be used; without ranges from everywhere.")

        @OptionGroup var key: KeyOption
        @Option(help: "Address range the key may be used from; may be repeated.") var allow: [String] = []
        @Option(help: "Address range the key may not be used from; may be repeated.") var block: [String] = []

        func run() throws {
            let rules = allow.isEmpty && block.isEmpty ? nil : IPFilterRules(allow: allow, block: block)
            try key.change { try $0.setIPFilter(rules, on: $1, by: .migrate) }
        }
    }

    struct Quota: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Sets what a key may use in a sliding window; without options all it likes.")

        @OptionGroup var key: KeyOption
        @Option(help: "Requests in a window.") var requests: Int?
        @Option(help: "Length of the window, 60 to 86400.") var windowSeconds: Int?
        @Option(help: "Tokens in a window.") var tokens: Int?

        func validate() throws {
            guard (requests == nil) == (windowSeconds == nil), tokens == nil || requests != nil else {
                throw ValidationError("--requests and --window-seconds belong together.")
            }
        }

        func run() throws {
            let quota = requests.flatMap { requests in
                windowSeconds.map { KeyQuota(requests: requests, windowSeconds: $0, tokens: tokens) }
            }
            try key.change { try $0.setQuota(quota, on: $1, by: .migrate) }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the keys of a project, the newest first.")

        @Option(help: "Slug of the project.") var project: String

        func run() throws {
            try withProject(project) { connection, _ in
                var keys: [KeyObject] = []
                var query = ListQuery()
                query.limit = 100
                while true {
                    let page = try connection.keys(query, for: .migrate)
                    keys += page.data
                    guard page.hasMore, let last = page.data.last else { break }
                    query.after = last.id.description
                }
                try printJSON(keys)
            }
        }
    }
}

/// The key that a command changes.
struct KeyOption: ParsableArguments {
    @Option(help: "The key's identifier, key_….") var id: String

    /// Changes the key, tells the gateways, and prints it.
    func change(_ body: (TenantConnection, ID<APIKey>) throws -> KeyObject) throws {
        guard let keyID = ID<APIKey>(id) else { throw ValidationError("--id is not the identifier of a key (key_…).") }
        try withSettings { settings in
            guard let project = try settings.system.withConnection({ try $0.project(of: keyID) }) else {
                throw Failure("--id: There is no key \(id).")
            }
            let key: KeyObject
            do {
                key = try settings.tenants.withConnection(of: project) { try body($0, keyID) }
            } catch AccountError.noSuchKey {
                throw Failure("--id: There is no key \(id) in use.")
            }
            Invalidation(settings).publish("key:\(id)")
            try printJSON(key)
        }
    }
}
