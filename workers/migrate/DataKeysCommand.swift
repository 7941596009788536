import Accounts
import ArgumentParser
import OpenAI

struct DataKeysCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "data-keys", abstract: "Manages the keys that projects' private bytes are sealed with.",
        subcommands: [List.self, Rotate.self, Rewrap.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the data keys of a project; their values are shown nowhere.")

        @Option(help: "Slug of the project.") var project: String

        func run() throws {
            try withSettings { settings in
                try settings.system.withConnection { try printJSON(try $0.dataKeys(of: try $0.requireProject(slug: project))) }
            }
        }
    }

    struct Rotate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Gives a project a new data key.", discussion: "The old ones go on opening what they sealed.")

        @Option(help: "Slug of the project.") var project: String

        func run() throws {
            try withSettings { settings in
                let masters = try settings.masterKeys()
                let (id, key) = try settings.system.withConnection { connection in
                    let id = try connection.requireProject(slug: project)
                    return (id, try connection.rotateDataKey(of: id, masters, by: .migrate))
                }
                Invalidation(settings).publish("data_keys:\(id)")
                try printJSON(key)
            }
        }
    }

    struct Rewrap: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Wraps every data key under completion.encryption_key.",
            discussion: """
                To change the master key: give every gateway the new one as completion.encryption_key and the old one as \
                completion.previous_encryption_key, run this with the same two, then take the old one away. What the keys have sealed is not \
                touched. It may be stopped and run again at any time.
                """)

        @Option(help: .hidden) var batch = 100

        private struct Answer: Encodable {
            var rewrapped: Int
            var masterKeyID: String
            enum CodingKeys: String, CodingKey {
                case rewrapped
                case masterKeyID = "master_key_id"
            }
        }

        func run() throws {
            try withSettings { settings in
                let masters = try settings.masterKeys()
                var answer = Answer(rewrapped: 0, masterKeyID: masters.currentID)
                try settings.system.withConnection { connection in
                    while case let count = try connection.rewrapDataKeys(limit: batch, masters, by: .migrate), count > 0 {
                        answer.rewrapped += count
                    }
                }
                try printJSON(answer)
            }
        }
    }
}
