import Foundation
import Inference
import JSON
import Testing

@Suite struct ChatStreamGrammarTests {
    private static let identity = AnswerIdentity(id: "chatcmpl-1", created: 5, model: "small", serviceTier: "default", fingerprint: "fp_1")

    private func grammar(_ members: String = #""stream":true"#, vendorEvents: Bool = false) throws -> ChatStreamGrammar {
        ChatStreamGrammar(Self.identity, try chatRequest(chat(with: members)), vendorEvents: vendorEvents)
    }

    private func play(_ chunks: [String], _ grammar: inout ChatStreamGrammar) throws -> String {
        var bytes: [UInt8] = []
        for chunk in chunks { bytes += try parser.parse(Array(chunk.utf8)) { try grammar.receive($0) } }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func frame(_ choice: String) -> String {
        #"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":5,"model":"small","service_tier":"default","system_fingerprint":"fp_1","choices":["#
            + choice + "]}\n\n"
    }

    @Test func anEnginesTextBesideItsFinishReasonIsTakenApart() throws {
        var grammar = try grammar()
        let text = try play(
            [
                #"{"id":"x","model":"y","choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}]}"#,
                #"{"choices":[{"index":0,"delta":{"content":"a\n\"b"},"finish_reason":"stop"}]}"#,
            ], &grammar)
        #expect(
            text == frame(#"{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}"#)
                + frame(#"{"index":0,"delta":{"content":"a\n\"b"},"logprobs":null,"finish_reason":null}"#)
                + frame(#"{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}"#))
        #expect(grammar.isComplete && grammar.finishReason == "stop")
        #expect(grammar.usage.output == 1 && grammar.usage.isEstimated)
    }

    @Test func aCutEndsEveryChoiceThatHasNotEnded() throws {
        var grammar = try grammar(#""stream":true,"n":2"#)
        _ = try play([#"{"choices":[{"index":1,"delta":{"content":"b"},"finish_reason":"stop"}]}"#], &grammar)
        #expect(
            String(decoding: try grammar.cut(), as: UTF8.self) == frame(#"{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}"#)
        )
        #expect(grammar.isComplete && grammar.finishReason == "length")
    }

    @Test func aCutBeforeTheFirstTokenIsStillAWholeStream() throws {
        var grammar = try grammar()
        #expect(
            String(decoding: try grammar.cut(), as: UTF8.self)
                == frame(#"{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}"#)
                + frame(#"{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}"#))
        #expect(grammar.usage.output == 0)
    }

    @Test func whatBrokeOffIsCountedByItsDeltas() throws {
        var grammar = try grammar()
        let long = String(repeating: "x", count: 40)
        let chunks = ["a", "internationally", long].map { #"{"choices":[{"index":0,"delta":{"content":"\#($0)"}}]}"# }
        _ = try play(chunks + [#"{"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}"#], &grammar)
        // One each for what may be a token, and one for each 4 bytes of what cannot.
        #expect(grammar.usage.output == 1 + 1 + 10 + 1 && grammar.usage.reasoning == 1)
        _ = try grammar.cut()
        #expect(grammar.usage.output == 13 && grammar.usage.isEstimated)
    }

    @Test func whatIsCompleteIsCountedByItsBytes() throws {
        var grammar = try grammar()
        let chunks = ["a", "bc", "d"].map { #"{"choices":[{"index":0,"delta":{"content":"\#($0)"}}]}"# }
        _ = try play(chunks + [#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#], &grammar)
        #expect(grammar.usage.output == 1)
    }

    @Test func allChoicesBeginBeforeAnyGoesOn() throws {
        var grammar = try grammar(#""stream":true,"n":2"#)
        let text = try play([#"{"choices":[{"index":1,"delta":{"content":"b"}}]}"#], &grammar)
        let order = text.components(separatedBy: "\n\n").dropLast().map { $0.components(separatedBy: #""choices":[{"index":"#)[1].first }
        #expect(order == ["0", "1", "1"] && !grammar.isComplete)
    }

    @Test func onlyTheFirstPieceOfAToolCallCarriesItsName() throws {
        var grammar = try grammar()
        let text = try play(
            [
                #"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]}}]}"#,
                #"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"}}]}}]}"#,
            ], &grammar)
        #expect(text.contains(#"{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]}"#))
        #expect(text.contains(#"{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}"#))
    }

    @Test func reasoningTravelsByEventsOnlyAfterOptIn() throws {
        let chunks = [
            #"{"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}"#, #"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#,
        ]
        var plain = try grammar()
        #expect(try play(chunks, &plain).contains(#""delta":{"reasoning_content":"hm"}"#))
        var events = try grammar(vendorEvents: true)
        let text = try play(chunks, &events)
        #expect(
            text.contains(
                "event: x_chat.reasoning\ndata: {\"type\":\"x_chat.reasoning\",\"id\":\"chatcmpl-1\",\"seq\":0,\"choices\":[],\"index\":0,\"delta\":\"hm\"}\n\n"
            ))
        #expect(text.contains(#""seq":1,"choices":[],"index":0,"delta":"","done":true"#) && !text.contains("reasoning_content"))
    }

    @Test func usageIsNullUntilItsOwnChunk() throws {
        var grammar = try grammar(#""stream":true,"stream_options":{"include_usage":true}"#)
        let text = try play(
            [
                #"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"length"}]}"#,
                #"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":1}}}"#,
            ], &grammar)
        #expect(text.components(separatedBy: #"],"usage":null}"#).count == 4)
        let usage = String(decoding: grammar.usageChunk(), as: UTF8.self)
        #expect(
            usage.contains(
                #""choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":1,"#
            ))
        #expect(grammar.usage.rateTokens == 5)
    }

    @Test(arguments: [
        #"{"error":{"message":"out of memory"}}"#, #"[]"#, #"{"choices":7}"#, #"{"choices":[{"index":3,"delta":{"content":"x"}}]}"#,
        #"{"choices":[{"index":0,"delta":{"content":5}}]}"#, #"{"choices":[{"index":0,"delta":{},"finish_reason":"because"}]}"#,
    ])
    func chunksOfAnotherShapeAreRefused(chunk: String) throws {
        var grammar = try grammar()
        #expect(throws: MalformedAnswer.self) { try play([chunk], &grammar) }
    }
}
