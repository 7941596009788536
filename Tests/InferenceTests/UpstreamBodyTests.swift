import Catalog
import Foundation
import Inference
import OpenAI
import Server
import Testing

@Suite struct UpstreamBodyTests {
    static var endpoint: EndpointRecord {
        let tier = ServiceTier(
            slug: "t", priceNanoPerMtok: 1, tokensPerMinute: nil, requestsPerMinute: nil, burstFloor: 1, requestTimeout: .seconds(60),
            idleStreamTimeout: .seconds(30), concurrent: 10, queueWait: .seconds(1), priority: 0)
        return EndpointRecord(
            id: .random(), projectID: .random(), slug: "chat", status: .active, generation: 1, taskMode: .generate, tier: tier,
            modelID: .random(), modelName: "served", modelVersion: "1", contextLength: nil, upstream: UpstreamSettings(urls: ["https://a"]),
            limits: EndpointLimits(), defaults: EndpointDefaults(), createdAt: 1)
    }

    /// What the upstream gets for a body, and the clamps.
    static func upstreamBody(
        _ json: String, payable: Int? = nil, adapter: EngineAdapter = .unknown, _ change: (inout EndpointRecord) -> Void = { _ in }
    ) throws -> (
        members: [String: Any], text: String, clamps: [String]
    ) {
        var endpoint = Self.endpoint
        change(&endpoint)
        var body = try RequestDocument.read(Array(json.utf8), parser) { root in
            try UpstreamBody(of: root, try ChatRequest(checking: root, defaults: endpoint.defaults, adapter: adapter), for: endpoint)
        }
        body.close(payable: payable)
        let members = try #require(try JSONSerialization.jsonObject(with: Data(body.bytes)) as? [String: Any])
        return (members, String(decoding: body.bytes, as: UTF8.self), body.clamps.map(\.description))
    }

    @Test(arguments: [
        "cache_salt", "kv_transfer_params", "lora_request", "priority", "request_id", "x_anything", "n_predict", "n_cmpl", "id_slot",
        "lora", "store",
        "metadata", "service_tier",
        "cache\\u005fsalt", "\\u0078_own", "request\\u005Fid", "\\u0070riority",
    ])
    func membersThatAreNotForTheUpstreamAreDropped(name: String) throws {
        let value = name == "store" ? "true" : name == "metadata" ? #"{"a":"b"}"# : #""auto""#
        let body = try Self.upstreamBody(chat(with: "\"\(name)\":\(value),\"kept\":[1]"))
        #expect(Set(body.members.keys) == ["model", "messages", "kept", "temperature", "top_p"], "\(body.text)")
    }

    @Test func unknownMembersArePassedOnAsTheyStand() throws {
        let text = #""min_p":0.10,"big":12345678901234567,"obj":{"x_in":"\u00e4\n","cache_salt":1},"list":[ 1 , 2.50e1 ],"n\u0061me":null"#
        let body = try Self.upstreamBody(chat(with: text))
        for part in ["0.10", "12345678901234567", #"{"x_in":"\u00e4\n","cache_salt":1}"#, "[ 1 , 2.50e1 ]", #""name":null"#] {
            #expect(body.text.contains(part), "\(part) in \(body.text)")
        }
    }

    @Test func theModelIsTheUpstreamsName() throws {
        #expect(try Self.upstreamBody(chat(with: #""n":1"#)).members["model"] as? String == "served")
        #expect(
            try Self.upstreamBody(chat(with: #""n":1"#)) { $0.upstream.model = "org/\"own\"" }.members["model"] as? String == "org/\"own\"")
    }

    @Test func defaultsFillWhatTheRequestLeavesOut() throws {
        func change(_ endpoint: inout EndpointRecord) {
            endpoint.defaults.temperature = 0.25
            endpoint.defaults.topP = 0.5
            endpoint.defaults.reasoningEffort = "low"
        }
        let plain = try Self.upstreamBody(chat(with: #""n":1"#)).members
        #expect(plain["temperature"] as? Double == 0.7 && plain["top_p"] as? Double == 0.9 && plain["reasoning_effort"] == nil)
        for given in [#""n":1"#, #""temperature":null,"top_p":null,"reasoning_effort":null"#] {
            let filled = try Self.upstreamBody(chat(with: given), change).members
            #expect(filled["temperature"] as? Double == 0.25 && filled["top_p"] as? Double == 0.5)
            #expect(filled["reasoning_effort"] as? String == "low")
        }
        let own = try Self.upstreamBody(chat(with: #""temperature":2,"top_p":1,"reasoning_effort":"high""#), change)
        #expect(own.members["temperature"] as? Int == 2 && own.members["top_p"] as? Int == 1)
        #expect(own.members["reasoning_effort"] as? String == "high")
        #expect(own.text.components(separatedBy: "temperature").count == 2)
    }

    @Test func theSystemPromptComesFirstUnlessTheRequestHasOne() throws {
        func change(_ endpoint: inout EndpointRecord) { endpoint.defaults.systemPrompt = "Say \"hi\"\n" }
        let body = try Self.upstreamBody(#"{"model":"m","messages": [ {"role":"user","content":"x"}]}"#, change)
        let list = try #require(body.members["messages"] as? [[String: String]])
        #expect(list == [["role": "system", "content": "Say \"hi\"\n"], ["role": "user", "content": "x"]])
        for role in ["system", "developer"] {
            let own = try Self.upstreamBody(
                #"{"model":"m","messages":[{"role":"\#(role)","content":"own"},{"role":"user","content":"x"}]}"#, change)
            #expect((own.members["messages"] as? [[String: String]])?.count == 2, "\(role)")
        }
    }

    @Test(
        arguments: [
            // The endpoint's cap.
            (#""max_tokens":5000"#, 1000, nil, "max_tokens", 1000, ["max_tokens=5000->1000"]),
            (#""max_completion_tokens":5000"#, 1000, nil, "max_completion_tokens", 1000, ["max_completion_tokens=5000->1000"]),
            (#""max_tokens":10"#, 1000, nil, "max_tokens", 10, []), (#""n":1"#, 1000, nil, "max_tokens", 1000, []),
            // What the context leaves: the prompt is estimated as 1 token.
            (#""max_tokens":5000"#, nil, 4096, "max_tokens", 4095, ["max_tokens=5000->4095"]),
            (#""max_tokens":4095"#, nil, 4096, "max_tokens", 4095, []),
            (#""max_tokens":5000"#, 100, 4096, "max_tokens", 100, ["max_tokens=5000->100"]),
            (#""max_tokens":5"#, nil, 1, "max_tokens", 5, []),
            // Nothing is known.
            (#""max_tokens":5000"#, nil, nil, "max_tokens", 5000, []), (#""max_tokens":null"#, nil, nil, "max_tokens", nil, []),
            (#""n":1"#, nil, 4096, "max_tokens", nil, []),
        ] as [(String, Int?, Int?, String, Int?, [String])])
    func limitsAreClampedAndTold(members: String, cap: Int?, context: Int?, name: String, sent: Int?, clamps: [String]) throws {
        let body = try Self.upstreamBody(chat(with: members)) {
            $0.limits.maxTokens = cap
            $0.contextLength = context
        }
        #expect(body.members[name] as? Int == sent && body.clamps == clamps, "\(body.text)")
        #expect(body.members.keys.filter { $0.hasPrefix("max_") }.count == (sent == nil ? 0 : 1))
    }

    @Test(
        arguments: [
            (#""max_tokens":5000"#, nil, "max_tokens", ["max_tokens=5000->70"]),
            (#""max_completion_tokens":5000"#, 4096, "max_completion_tokens", ["max_completion_tokens=5000->70"]),
            (#""max_tokens":60"#, 4096, "max_tokens", []),
            // From what the context leaves, or from what is held where that is unknown.
            (#""n":1"#, 4096, "max_tokens", ["max_tokens=4095->70"]), (#""n":1"#, nil, "max_tokens", ["max_tokens=2048->70"]),
        ] as [(String, Int?, String, [String])])
    func whatTheProjectCanPayIsAFurtherLimit(members: String, context: Int?, name: String, clamps: [String]) throws {
        let body = try Self.upstreamBody(chat(with: members), payable: 70) { $0.contextLength = context }
        #expect(body.members[name] as? Int == (clamps.isEmpty ? 60 : 70) && body.clamps == clamps, "\(body.text)")
    }

    @Test func aPromptOverTheEndpointsLimitIsRefused() throws {
        let long = #"{"model":"m","messages":[{"role":"user","content":"\#(String(repeating: "x", count: 400))"}]}"#
        let error = #expect(throws: APIError.self) { try Self.upstreamBody(long) { $0.limits.maxPromptTokens = 99 } }
        #expect(error?.code == .contextLengthExceeded)
        #expect(throws: Never.self) { try Self.upstreamBody(long) { $0.limits.maxPromptTokens = 101 } }
    }

    @Test func aStreamAlwaysAsksForUsage() throws {
        let body = try Self.upstreamBody(chat(with: #""stream":true,"stream_options":{"include_usage":false,"x_events":true}"#))
        #expect(body.members["stream_options"] as? [String: Bool] == ["include_usage": true])
        #expect(try Self.upstreamBody(chat(with: #""stream":false"#)).members["stream_options"] == nil)
    }
}
