import Catalog
import Foundation
import Inference
import JSON
import OpenAI
import Testing

/// Text completions: requests as they are read, recorded answers as they become ours.
@Suite struct CompletionTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../EngineAnswers/llama_cpp")
    private static let identity = AnswerIdentity(id: "cmpl-1", created: 5, model: "small", serviceTier: "default", fingerprint: "fp_1")

    private func asked(_ members: String, adapter: EngineAdapter = .llamaCpp) throws -> CompletionRequest {
        try parser.parse(Array(#"{"model":"m",\#(members)}"#.utf8)) {
            try CompletionRequest(checking: $0, for: UpstreamBodyTests.endpoint, adapter: adapter)
        }
    }

    private func object(_ bytes: [UInt8]) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
    }

    private func answer(_ text: [UInt8], _ asked: CompletionRequest) throws -> (CompletionAnswer, [[String: Any]]) {
        let answer = try parser.parse(text) { try asked.answer(rewriting: $0, as: Self.identity) }
        return (answer, try #require(try object(answer.bytes + Array("}".utf8))["choices"] as? [[String: Any]]))
    }

    private func recorded(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: Self.folder.appending(path: name))) }

    private static let twoPrompts = #""prompt":["Once upon","The sea is"],"max_tokens":3"#

    @Test func llamaCppsUsageOfTheFirstPromptBecomesThatOfAll() throws {
        let (answer, choices) = try answer(try recorded("two_prompts.json"), try asked(Self.twoPrompts))
        #expect(choices.count == 2 && answer.finishReason == "length")
        #expect((4...6).contains(answer.usage.input) && answer.usage.isEstimated)
        #expect((5...8).contains(answer.usage.output))
    }

    @Test func llamaCppsStreamOfSeveralPromptsIsCountedExactly() throws {
        var grammar = try asked(Self.twoPrompts + #","stream":true"#).grammar(Self.identity, vendorEvents: false)
        var frames: [UInt8] = []
        for line in String(decoding: try recorded("two_prompts.sse"), as: UTF8.self).split(separator: "\n") where line != "data: [DONE]" {
            frames += try parser.parse(Array(line.dropFirst("data: ".count).utf8)) { try grammar.receive($0) }
        }
        #expect(grammar.isComplete && (grammar.usage.input, grammar.usage.output, grammar.usage.isEstimated) == (5, 6, false))
        #expect(String(decoding: frames, as: UTF8.self).hasPrefix(#"data: {"id":"cmpl-1","object":"text_completion""#))
    }

    @Test func logprobsOfChatsBecomeListsSideBySide() throws {
        let (_, choices) = try answer(try recorded("text_logprobs.json"), try asked(#""prompt":"Once upon","logprobs":2"#))
        let shown = try #require(choices.first?["logprobs"] as? [String: Any])
        let tokens = try #require(shown["tokens"] as? [String])
        #expect(tokens.joined() == choices[0]["text"] as? String)
        #expect(shown["text_offset"] as? [Int] == [0, tokens[0].unicodeScalars.count])
        #expect((shown["token_logprobs"] as? [Double])?.count == 2)
        #expect((shown["top_logprobs"] as? [[String: Double]])?.map(\.count) == [2, 2])
    }

    @Test func theSameTokenIsNotNamedTwice() throws {
        let one = #"{"token":"a","logprob":-1}"#
        let text =
            #"{"choices":[{"index":0,"text":"a","finish_reason":"stop","logprobs":{"content":[{"token":"a","logprob":-1,"top_logprobs":[\#(one),\#(one)]}]}}]}"#
        let (_, choices) = try answer(Array(text.utf8), try asked(#""prompt":"x","logprobs":2"#))
        #expect(((choices[0]["logprobs"] as? [String: Any])?["top_logprobs"] as? [[String: Double]]) == [["a": -1]])
    }

    @Test func anEchoIsNoOutput() throws {
        let request = try asked(#""prompt":["abcdefgh","i"],"echo":true,"stream":true"#, adapter: .unknown)
        let text =
            #"{"choices":[{"index":0,"text":"abcdefgh1234","finish_reason":"stop"},{"index":1,"text":"i5678","finish_reason":"stop"}]}"#
        #expect(try answer(Array(text.utf8), request).0.usage.output == 2)
        var grammar = request.grammar(Self.identity, vendorEvents: false)
        let pieces = [
            #"{"index":0,"text":"abcd"}"#, #"{"index":0,"text":"efgh12"}"#, #"{"index":0,"text":"34"}"#, #"{"index":1,"text":"i"}"#,
        ]
        for piece in pieces {
            _ = try parser.parse(Array(#"{"choices":[\#(piece)]}"#.utf8)) { try grammar.receive($0) }
        }
        #expect(grammar.usage.output == 2)
        #expect(!grammar.isComplete)
        #expect(String(decoding: try grammar.cut(), as: UTF8.self).components(separatedBy: #""finish_reason":"length""#).count == 3)
        #expect(grammar.isComplete)
    }

    @Test func promptsAreMeasuredEachAndTogether() throws {
        let request = try asked(#""prompt":[[1,2,3],[4]],"n":2"#)
        #expect((request.prompts, request.answers, request.promptEstimate, request.mostPromptTokens) == (2, 4, 4, 4))
        #expect(try asked(#""prompt":"12345""#).mostPromptTokens == 3)
        #expect(try asked(#""prompt":"12345""#).maxTokens == 16)
    }
}
