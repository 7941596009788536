import Accounts
import ArgumentParser
import Catalog
import Foundation

struct EndpointCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "endpoint", abstract: "Manages endpoints.", subcommands: [Set.self])

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Creates an endpoint, or changes what is given.",
            discussion: "A new endpoint needs --tier. Without --upstream-url agents serve its model.")

        @Option(help: "Slug of the project.") var project: String
        @Option(help: "The endpoint's name in paths.") var slug: String
        @Option(help: "Slug of the service tier.") var tier: String?
        @Option(help: "The model's name as clients give it.") var model: String?
        @Option(help: "generate, embed or score.") var taskMode: String?
        @Option(help: "Base URL of an OpenAI-compatible server, with or without a final /v1; may be repeated.") var upstreamURL: [String] =
            []
        @Flag(help: "Take the upstream away with all that was said of it: agents serve the model.") var noUpstream = false
        @Option(help: "The model's name as the upstream knows it.") var upstreamModel: String?
        @Option(help: "Environment variable that holds the upstream's API key.") var upstreamKeyEnv: String?
        @Option(help: "Path of the health probe, from the origin.") var healthPath: String?
        @Option(help: "Header for the upstream, 'Name: value'; may be repeated.") var header: [String] = []
        @Option(help: "Milliseconds until a call of the upstream is given up.") var timeoutMs: Int?
        @Option(help: "Whose server it is: auto, vllm, llama_cpp or openai.") var engine: String?
        @Option(help: "The most calls at a time.") var maxConcurrent: Int?
        @Option(help: "The context window in tokens.") var contextLength: Int?
        @Option(help: "JSON object of limits; each only lowers the tier's.") var limits: String?
        @Option(help: "JSON object of defaults for requests.") var defaults: String?
        @Option(help: "active or inactive.") var status: String?
        @Option(help: "Further name for the flat form; may be repeated.") var alias: [String] = []

        func run() throws {
            let change = try change()
            try withProject(project) { connection, settings in
                let endpoint = try connection.setEndpoint(
                    slug, to: change, sealing: try settings.sealing(), outbound: settings.outbound, timeScale: settings.timeScale,
                    by: .migrate)
                Invalidation(settings).publish("project:\(connection.project)")
                print(endpoint)
            }
        }

        private func change() throws -> EndpointChange {
            var change = EndpointChange()
            change.tier = tier
            change.model = model
            change.taskMode = try taskMode.map { try value($0, of: "--task-mode", is: "generate, embed or score") }
            if noUpstream { change.reset(\.upstream) }
            change.urls = upstreamURL
            change.aliases = alias.isEmpty ? nil : alias
            change.upstreamModel = upstreamModel
            change.upstreamKey = try upstreamKeyEnv.map(upstreamKey)
            change.healthPath = healthPath
            change.headers = header.isEmpty ? nil : try headers()
            change.timeoutMilliseconds = timeoutMs
            change.maxConcurrent = maxConcurrent
            change.engine = try engine.map(engineChoice)
            change.contextLength = contextLength
            // Given as a whole, where routes take members one by one.
            if limits != nil { change.reset(\.limits) }
            if defaults != nil { change.reset(\.defaults) }
            change.limits = try limits.map { try object($0, of: "--limits", EndpointLimits.self, knows: EndpointLimits.names) }
            change.defaults = try defaults.map { try object($0, of: "--defaults", EndpointDefaults.self, knows: EndpointDefaults.names) }
            change.status = try status.map { try value($0, of: "--status", is: "active or inactive") }
            return change
        }

        private func value<Value: RawRepresentable>(_ text: String, of option: String, is choices: String) throws -> Value
        where Value.RawValue == String {
            guard let value = Value(rawValue: text) else { throw ValidationError("\(option) is \(choices), not '\(text)'.") }
            return value
        }

        private func engineChoice(_ name: String) throws -> EngineChoice {
            guard let choice = EngineChoice(named: name) else {
                throw ValidationError("--engine is auto, vllm, llama_cpp or openai, not '\(name)'.")
            }
            return choice
        }

        private func upstreamKey(variable: String) throws -> String {
            guard let key = ProcessInfo.processInfo.environment[variable], !key.isEmpty else {
                throw ValidationError("--upstream-key-env: the environment variable \(variable) is not set.")
            }
            return key
        }

        private func headers() throws -> [String: String] {
            let pairs = try header.map { text in
                guard let colon = text.firstIndex(of: ":") else { throw ValidationError("--header is 'Name: value', not '\(text)'.") }
                return (String(text[..<colon]), text[text.index(after: colon)...].trimmingCharacters(in: .whitespaces))
            }
            return Dictionary(pairs) { _, last in last }
        }

        private func object<Value: Decodable>(_ text: String, of option: String, _ type: Value.Type, knows names: Swift.Set<String>) throws
            -> Value
        {
            guard let members = try? JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any] else {
                throw ValidationError("\(option) is not a JSON object.")
            }
            if let unknown = members.keys.sorted().first(where: { !names.contains($0) }) {
                throw ValidationError("\(option) has the unknown member '\(unknown)'; it knows \(names.sorted().joined(separator: ", ")).")
            }
            do {
                return try JSONDecoder().decode(type, from: Data(text.utf8))
            } catch DecodingError.typeMismatch(_, let context), DecodingError.dataCorrupted(let context) {
                throw ValidationError(
                    "\(option): \(context.codingPath.map(\.stringValue).joined(separator: ".")): \(context.debugDescription)")
            }
        }
    }
}
