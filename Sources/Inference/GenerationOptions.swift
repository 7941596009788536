import Catalog
import JSON
import OpenAI
import Server

/// The members that all requests for generated text have in common (02 §2, §17): those we act on; the others are only checked.
package struct GenerationOptions {
    private(set) var isStream = false
    private(set) var includesUsage = false
    private(set) var wantsVendorEvents = false
    private(set) var choices = 1
    private(set) var profile: RoutingProfile
    /// Members that the body has, of those we may add.
    private(set) var hasTemperature = false
    private(set) var hasTopP = false
    /// The highest token id in `logit_bias`.
    private(set) var highestBiasedToken: Int?

    init(defaults: EndpointDefaults) { profile = RoutingProfile(defaults: defaults) }

    /// Takes a member, if it is one of these.
    mutating func read(_ member: JSONElement.Member) throws {
        let value = member.value
        switch member.name {
        case "temperature":
            _ = try Fields.number(value, "temperature", in: 0...2)
            hasTemperature = true
        case "top_p":
            _ = try Fields.number(value, "top_p", in: 0...1)
            hasTopP = true
        case "n": choices = try Fields.integer(value, "n", in: 1...8)
        case "stream": isStream = try Fields.bool(value, "stream")
        case "stop": try Self.check(stop: value)
        case "frequency_penalty": _ = try Fields.number(value, "frequency_penalty", in: -2...2)
        case "presence_penalty": _ = try Fields.number(value, "presence_penalty", in: -2...2)
        case "logit_bias": highestBiasedToken = try Self.check(logitBias: value)
        case "seed": _ = try Fields.integer(value, "seed", in: Int.min...Int.max)
        case "user": _ = try Fields.string(value, "user", atMost: 512)
        case "service_tier": profile = try RoutingProfile(checking: value)
        default: break
        }
    }

    /// After all members: they need `stream`.
    mutating func read(streamOptions: JSONElement) throws {
        guard isStream else {
            throw APIError(.unsupportedCombination, "'stream_options' needs 'stream': true.", param: "stream_options")
        }
        try Fields.object(streamOptions, "stream_options")
        for option in streamOptions.members where !option.value.isNull {
            switch option.name {
            case "include_usage": includesUsage = try Fields.bool(option.value, "stream_options.include_usage")
            case "include_obfuscation": _ = try Fields.bool(option.value, "stream_options.include_obfuscation")
            case "x_events": wantsVendorEvents = try Fields.bool(option.value, "stream_options.x_events")
            default: break
            }
        }
    }

    private static func check(stop: JSONElement) throws {
        func check(_ value: JSONElement, _ name: String) throws {
            let text = try Fields.string(value, name, atMost: 256)
            if text.isEmpty { throw APIError.invalid(name, "'\(name)' must not be empty.") }
        }
        guard stop.kind == .array else { return try check(stop, "stop") }
        let stops = Array(stop.elements)
        guard (1...4).contains(stops.count) else { throw APIError.invalid("stop", "'stop' must have 1 to 4 strings.") }
        for (index, value) in stops.enumerated() { try check(value, "stop[\(index)]") }
    }

    /// - Returns: the highest token id.
    private static func check(logitBias: JSONElement) throws -> Int? {
        try Fields.object(logitBias, "logit_bias")
        var count = 0
        var highest: Int?
        for bias in logitBias.members {
            count += 1
            guard count <= 1_024 else { throw APIError.invalid("logit_bias", "'logit_bias' has more than 1024 entries.") }
            guard let token = Int(bias.name.description), token >= 0 else {
                throw APIError.invalid("logit_bias", "The names in 'logit_bias' must be token ids.")
            }
            _ = try Fields.number(bias.value, "logit_bias.\(token)", in: -100...100)
            highest = max(highest ?? 0, token)
        }
        return highest
    }
}
