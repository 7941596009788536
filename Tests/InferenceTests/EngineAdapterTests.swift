import Catalog
import Foundation
import Inference
import JSON
import Mesh
import Testing

/// Answers of Tests/EngineAnswers, through the adapter of the engine that gave them.
@Suite struct EngineAdapterTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../EngineAnswers")
    private static let identity = AnswerIdentity(id: "chatcmpl-1", created: 5, model: "small", serviceTier: "default", fingerprint: "fp_1")

    private func recorded(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: Self.folder.appending(path: name))) }

    private func report(_ name: String, server: String? = nil, model: String) throws -> ModelFacts {
        try #require(ModelFacts(modelsBody: try recorded(name), server: server, model: model))
    }

    private func chat(_ members: String, _ adapter: EngineAdapter) throws -> ChatRequest {
        try chatRequest(chat(with: members), adapter: adapter)
    }

    private func chat(with members: String) -> String { #"{"model":"m","messages":[{"role":"user","content":"hi"}],\#(members)}"# }

    private func answer(_ name: String, _ members: String, _ adapter: EngineAdapter) throws -> (ChatAnswer, [[String: Any]]) {
        let request = try chat(members, adapter)
        let answer = try parser.parse(try recorded(name)) { try ChatAnswer(rewriting: $0, as: Self.identity, request) }
        let object = try JSONSerialization.jsonObject(with: Data(answer.bytes + Array("}".utf8))) as? [String: Any]
        return (answer, try #require(object?["choices"] as? [[String: Any]]))
    }

    /// The chunks that a recorded stream becomes.
    private func stream(_ name: String, _ members: String, _ adapter: EngineAdapter) throws -> (ChatStreamGrammar, [[String: Any]]) {
        var grammar = ChatStreamGrammar(Self.identity, try chat(#""stream":true,\#(members)"#, adapter), vendorEvents: false)
        var text = ""
        for line in String(decoding: try recorded(name), as: UTF8.self).split(separator: "\n") where line != "data: [DONE]" {
            text += String(
                decoding: try parser.parse(Array(line.dropFirst("data: ".count).utf8)) { try grammar.receive($0) }, as: UTF8.self)
        }
        let chunks = try text.split(separator: "\n").map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.dropFirst("data: ".count).utf8)) as? [String: Any])
        }
        return (grammar, chunks)
    }

    private func said(_ name: String, in chunks: [[String: Any]], index: Int = 0) -> String {
        chunks.flatMap { $0["choices"] as? [[String: Any]] ?? [] }.filter { $0["index"] as? Int == index }
            .compactMap { ($0["delta"] as? [String: Any])?[name] as? String }.joined()
    }

    // MARK: Recognition

    @Test func llamaCppTellsItsContextItsVocabularyAndWhatItReads() throws {
        let report = try report("llama_cpp/models.json", server: "llama.cpp", model: "smollm2-135m-instruct")
        #expect(
            report
                == ModelFacts(
                    engine: Engine.llamaCpp.rawValue, contextLength: 4096, vocabulary: 49_152, readsImages: false, readsAudio: false))
    }

    @Test func vLLMTellsItsContext() throws {
        #expect(try report("vllm/models.json", model: "Qwen/Qwen3-8B") == ModelFacts(engine: Engine.vLLM.rawValue, contextLength: 40_960))
    }

    @Test func aListThatCouldBeAnybodysSaysNothing() throws {
        #expect(try report("openai/models.json", model: "gpt-4-0613") == ModelFacts())
        #expect(ModelFacts(modelsBody: Array("<html>".utf8), server: nil, model: "m") == nil)
        #expect(ModelFacts(modelsBody: Array(#"{"data":{}}"#.utf8), server: nil, model: "m") == nil)
        #expect(ModelFacts(modelsBody: Array(#"{"data":[]}"#.utf8), server: "uvicorn", model: "m") == ModelFacts())
    }

    @Test func sizesThatCannotBeAreNotBelieved() throws {
        let body = #"{"data":[{"id":"m","owned_by":"llamacpp","meta":{"n_ctx":-1,"n_vocab":"many"},"architecture":7}]}"#
        #expect(ModelFacts(modelsBody: Array(body.utf8), server: nil, model: "m") == ModelFacts(engine: Engine.llamaCpp.rawValue))
    }

    @Test func ofSeveralModelsTheOneThatIsServedCounts() throws {
        let body = #"{"data":[{"id":"a","owned_by":"vllm","max_model_len":1},{"id":"b","owned_by":"vllm","max_model_len":2}]}"#
        #expect(ModelFacts(modelsBody: Array(body.utf8), server: nil, model: "b")?.contextLength == 2)
    }

    // MARK: Usage

    /// 8 tokens are the first choice's 34 bytes; the second has 16.
    @Test(arguments: [EngineAdapter.llamaCpp, .unknown]) func llamaCppsUsageOfOneChoiceBecomesThatOfAll(adapter: EngineAdapter) throws {
        let (answer, choices) = try answer("llama_cpp/two_choices.json", #""n":2"#, adapter)
        #expect(choices.count == 2)
        #expect(answer.usage.output > 8 && answer.usage.output <= 16 && answer.usage.isEstimated && answer.usage.input == 33)
    }

    @Test func oneChoiceIsCountedAsTheEngineDoes() throws {
        let (answer, _) = try answer("llama_cpp/logprobs.json", #""logprobs":true,"top_logprobs":1"#, .llamaCpp)
        #expect(answer.usage.output == 2 && !answer.usage.isEstimated)
    }

    @Test(arguments: [EngineAdapter.llamaCpp, .unknown]) func llamaCppsUsageChunksOfAStreamAreAdded(adapter: EngineAdapter) throws {
        let (grammar, chunks) = try stream("llama_cpp/two_choices.sse", #""n":2"#, adapter)
        #expect(grammar.isComplete && grammar.usage.output == 6 && grammar.usage.input == 33 && !grammar.usage.isEstimated)
        #expect(said("content", in: chunks, index: 0) == "Hello, welcome" && !said("content", in: chunks, index: 1).isEmpty)
        let firsts = chunks.prefix(2).compactMap { ($0["choices"] as? [[String: Any]])?.first?["index"] as? Int }
        #expect(firsts == [0, 1])
    }

    @Test func whoCountsTogetherIsNotAddedUp() throws {
        #expect(try stream("llama_cpp/two_choices.sse", #""n":2"#, .openAI).0.usage.output == 3)
        #expect(try answer("llama_cpp/two_choices.json", #""n":2"#, .openAI).0.usage.output == 8)
    }

    // MARK: Logprobs

    @Test func alternativesThatNobodyAskedForAreTakenOut() throws {
        let tops = try ["true", #"true,"top_logprobs":1"#].map { members in
            let (_, choices) = try answer("llama_cpp/logprobs.json", #""logprobs":\#(members)"#, .llamaCpp)
            let content = try #require((choices.first?["logprobs"] as? [String: Any])?["content"] as? [[String: Any]])
            #expect(content.count == 2 && content[0]["token"] as? String == "Hello" && content[0]["logprob"] as? Double != nil)
            return content.map { ($0["top_logprobs"] as? [Any])?.count }
        }
        #expect(tops == [[0, 0], [1, 1]])
    }

    // MARK: Reasoning

    @Test(arguments: ["vllm/reasoning.json", "vllm/reasoning_alone.json"]) func reasoningHasOneNameAndStandsOnce(name: String) throws {
        for adapter in [EngineAdapter.vLLM, .unknown] {
            let (_, choices) = try answer(name, #""n":1"#, adapter)
            let message = try #require(choices.first?["message"] as? [String: Any])
            #expect(message["reasoning_content"] as? String == "Hmm." && message["content"] as? String == "Yes.")
            #expect(Set(message.keys) == ["role", "content", "refusal", "reasoning_content", "annotations"])
        }
    }

    @Test func reasoningUnderTwoNamesIsStreamedOnce() throws {
        let (grammar, chunks) = try stream("vllm/reasoning.sse", #""n":1"#, .vLLM)
        #expect(said("reasoning_content", in: chunks) == "Hmm." && said("content", in: chunks) == "Yes.")
        #expect(grammar.usage.output == 7 && grammar.usage.cached == 0)
    }

    // MARK: Requests

    private func body(_ members: String, _ engine: Engine?, _ report: ModelFacts = ModelFacts()) throws -> [String: Any] {
        var endpoint = EndpointRecord(
            id: .random(), projectID: .random(), slug: "a", status: .active, generation: 1, taskMode: .generate, tier: tier,
            modelID: .random(), modelName: "served", modelVersion: "1", contextLength: nil, upstream: UpstreamSettings(urls: ["https://a"]),
            limits: EndpointLimits(), defaults: EndpointDefaults(), createdAt: 0, report: report)
        endpoint.upstream.engine = engine
        return try parser.parse(Array(chat(with: members).utf8)) { root in
            let request = try ChatRequest(checking: root, defaults: EndpointDefaults(), adapter: EngineAdapter(endpoint.engine))
            var body = try UpstreamBody(of: root, request, for: endpoint)
            body.close(payable: nil)
            return try #require(try JSONSerialization.jsonObject(with: Data(body.bytes)) as? [String: Any])
        }
    }

    private var tier: ServiceTier {
        ServiceTier(
            slug: "demo", priceNanoPerMtok: 0, tokensPerMinute: nil, requestsPerMinute: nil, burstFloor: 1, requestTimeout: .seconds(60),
            idleStreamTimeout: .seconds(60), concurrent: 10, queueWait: .seconds(1), priority: 1)
    }

    @Test func llamaCppIsAskedForOneAlternativeWhereNoneIsWanted() throws {
        #expect(try body(#""logprobs":true"#, .llamaCpp)["top_logprobs"] as? Int == 1)
        #expect(try body(#""logprobs":true,"top_logprobs":0"#, .llamaCpp)["top_logprobs"] as? Int == 1)
        #expect(try body(#""logprobs":true,"top_logprobs":3"#, .llamaCpp)["top_logprobs"] as? Int == 3)
        #expect(try body(#""logprobs":false"#, .llamaCpp)["top_logprobs"] == nil)
        #expect(try body(#""logprobs":true"#, .vLLM)["top_logprobs"] == nil)
    }

    @Test func tokensOutsideTheVocabularyAreRefused() throws {
        let report = ModelFacts(engine: Engine.llamaCpp.rawValue, vocabulary: 100)
        #expect(try body(#""logit_bias":{"99":1}"#, nil, report)["logit_bias"] != nil)
        let error = #expect(throws: (any Error).self) { try body(#""logit_bias":{"5":1,"100":1}"#, nil, report) }
        #expect("\(error!)".contains("logit_bias"))
    }

    @Test func theContextIsTheLeastThatAnybodyStates() throws {
        let report = ModelFacts(engine: Engine.vLLM.rawValue, contextLength: 64)
        #expect(try body(#""max_tokens":100"#, nil, report)["max_tokens"] as? Int == 63)
    }

    @Test func whatAnEndpointStatesGoesBeforeWhatIsRecognized() throws {
        #expect(try body(#""logprobs":true"#, .vLLM, ModelFacts(engine: Engine.llamaCpp.rawValue))["top_logprobs"] == nil)
    }
}
