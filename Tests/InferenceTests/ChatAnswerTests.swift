import Foundation
import Inference
import Testing

@Suite struct ChatAnswerTests {
    private static let identity = AnswerIdentity(id: "chatcmpl-1", created: 5, model: "small", serviceTier: "default", fingerprint: "fp_1")

    private func rewrite(_ json: String, _ members: String = #""n":1"#) throws -> (answer: ChatAnswer, object: [String: Any]) {
        let chat = try chatRequest(chat(with: members))
        let answer = try parser.parse(Array(json.utf8)) { try ChatAnswer(rewriting: $0, as: Self.identity, chat) }
        let object = try JSONSerialization.jsonObject(with: Data(answer.bytes + Array("}".utf8))) as? [String: Any]
        return (answer, try #require(object))
    }

    private func answer(_ choices: String, _ rest: String = "") -> String { #"{"choices":[\#(choices)]\#(rest)}"# }

    @Test func anEnginesOwnMembersAreLeftOut() throws {
        let (answer, object) = try rewrite(
            #"""
            {"id":"cmpl-7","model":"/models/x.gguf","created":99,"object":"chat.completion","system_fingerprint":"b4000","timings":{"a":1},
             "__verbose":{"prompt":"secret"},
             "choices":[{"finish_reason":"stop","index":0,"message":{"role":"assistant","content":"a\n\"b\" \u00e4","extra":1}}],
             "usage":{"completion_tokens":3,"prompt_tokens":10,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":4}}}
            """#)
        #expect(Set(object.keys) == ["id", "object", "created", "model", "service_tier", "system_fingerprint", "choices", "usage"])
        #expect(object["id"] as? String == "chatcmpl-1" && object["model"] as? String == "small" && object["created"] as? Int == 5)
        #expect(object["system_fingerprint"] as? String == "b4000" && object["object"] as? String == "chat.completion")
        let choice = try #require((object["choices"] as? [[String: Any]])?.first)
        #expect(
            choice as NSDictionary == [
                "index": 0, "finish_reason": "stop", "logprobs": NSNull(),
                "message": ["role": "assistant", "content": "a\n\"b\" ä", "refusal": NSNull(), "annotations": [Any]()],
            ])
        #expect(answer.usage.input == 10 && answer.usage.output == 3 && answer.usage.cached == 4 && !answer.usage.isEstimated)
        #expect((object["usage"] as? [String: Any])?["total_tokens"] as? Int == 13)
    }

    @Test func usageIsEstimatedWhereNoneIsGiven() throws {
        for rest in ["", #","usage":null"#, #","usage":{}"#, #","usage":{"prompt_tokens":-1}"#] {
            let (answer, _) = try rewrite(
                answer(#"{"message":{"content":"12345","reasoning_content":"12345678"},"finish_reason":"length"}"#, rest))
            #expect(answer.usage.isEstimated && answer.usage.output == 4 && answer.usage.reasoning == 2 && answer.usage.input == 1)
            #expect(answer.finishReason == "length")
        }
    }

    @Test func severalChoicesKeepTheirPlaces() throws {
        let list = #"""
            {"index":1,"message":{"content":"b"},"finish_reason":"length"},{"index":0,"message":{"content":"a"},"finish_reason":"stop"}
            """#
        let (answer, object) = try rewrite(answer(list), #""n":2"#)
        #expect((object["choices"] as? [[String: Any]])?.map { $0["index"] as? Int } == [1, 0])
        #expect(answer.finishReason == "stop")
        let unnumbered = #"{"message":{"content":"a"},"finish_reason":"stop"},{"message":{"content":"b"},"finish_reason":"stop"}"#
        let indices = try rewrite(self.answer(unnumbered), #""n":2"#).object["choices"] as? [[String: Any]]
        #expect(indices?.map { $0["index"] as? Int } == [0, 1])
    }

    @Test func toolCallsGetWhatTheyLack() throws {
        let list = #"""
            {"message":{"content":null,"tool_calls":[{"function":{"name":"f","arguments":"{\"a\":\"ü\\n\"}"}},
              {"id":"","type":"function","function":{"name":"g","arguments":""}},{"id":"own","function":{"name":"h","arguments":"{}"}}]},
              "finish_reason":"tool_calls"}
            """#
        let object = try rewrite(answer(list)).object
        let message = try #require((object["choices"] as? [[String: Any]])?.first?["message"] as? [String: Any])
        let calls = try #require(message["tool_calls"] as? [[String: Any]])
        #expect(message["content"] is NSNull && calls.allSatisfy { $0["type"] as? String == "function" })
        #expect(calls.map { ($0["id"] as? String)?.hasPrefix("call_") } == [true, true, false] && calls[2]["id"] as? String == "own")
        #expect(calls[0]["function"] as? [String: String] == ["name": "f", "arguments": #"{"a":"ü\n"}"#])
        let none = try rewrite(answer(#"{"message":{"content":"x","tool_calls":[]},"finish_reason":"stop"}"#)).object
        #expect(((none["choices"] as? [[String: Any]])?.first?["message"] as? [String: Any])?["tool_calls"] == nil)
    }

    @Test func logprobsHaveBothMembers() throws {
        let list = #"""
            {"message":{"content":"x"},"finish_reason":"stop","logprobs":{"content":[{"token":"x","logprob":-0.5,"bytes":[120],
              "top_logprobs":[]}]}}
            """#
        let choice = (try rewrite(answer(list)).object["choices"] as? [[String: Any]])?.first
        let logprobs = try #require(choice?["logprobs"] as? [String: Any])
        #expect(logprobs["refusal"] is NSNull && (logprobs["content"] as? [[String: Any]])?.first?["token"] as? String == "x")
    }

    @Test(arguments: [
        #"[]"#, #"{}"#, #""text""#, #"{"choices":[]}"#, #"{"choices":null}"#, #"{"choices":{"a":1}}"#, #"{"choices":[1]}"#,
        #"{"choices":[{}]}"#, #"{"error":{"message":"out of memory"}}"#,
        #"{"choices":[{"message":{"content":"x"}}]}"#, #"{"choices":[{"message":{"content":"x"},"finish_reason":null}]}"#,
        #"{"choices":[{"message":{"content":"x"},"finish_reason":"because"}]}"#,
        #"{"choices":[{"message":{"content":7},"finish_reason":"stop"}]}"#, #"{"choices":[{"message":"x","finish_reason":"stop"}]}"#,
        #"{"choices":[{"message":{"tool_calls":[{}]},"finish_reason":"tool_calls"}]}"#,
        #"{"choices":[{"message":{"tool_calls":[{"function":{"name":"f","arguments":{}}}]},"finish_reason":"tool_calls"}]}"#,
    ])
    func answersOfAnotherShapeAreRefused(json: String) throws {
        #expect(throws: MalformedAnswer.self) { try rewrite(json) }
    }

    @Test(arguments: [
        (0, "0.000000"), (1, "0.000000001"), (125_000, "0.000125"), (125_001, "0.000125001"), (120_000_000, "0.120000"),
        (1_500_000_000, "1.500000"), (999_999_999, "0.999999999"), (Int64.max, "9223372036.854775807"),
    ])
    func dollarsHaveSixToNineDecimals(nano: Int64, text: String) { #expect(VendorMetadata.dollars(nano: nano) == text) }
}
