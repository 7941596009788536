import Inference
import OpenAI
import Testing

@Suite struct ChatRequestTests {
    @Test(arguments: [
        (#""temperature":2.1"#, "invalid_value", "temperature"), (#""temperature":"1""#, "invalid_value", "temperature"),
        (#""top_p":-0.1"#, "invalid_value", "top_p"), (#""n":0"#, "invalid_value", "n"), (#""n":9"#, "invalid_value", "n"),
        (#""n":1.5"#, "invalid_value", "n"), (#""max_tokens":0"#, "invalid_value", "max_tokens"),
        (#""stream":1"#, "invalid_value", "stream"),
        (#""stop":["a","b","c","d","e"]"#, "invalid_value", "stop"), (#""stop":"""#, "invalid_value", "stop"),
        (#""top_logprobs":5"#, "unsupported_combination", "top_logprobs"),
        (#""stream_options":{"include_usage":true}"#, "unsupported_combination", "stream_options"),
        (#""logit_bias":{"x":1}"#, "invalid_value", "logit_bias"), (#""logit_bias":{"1":101}"#, "invalid_value", "logit_bias.1"),
        (#""seed":1e30"#, "invalid_value", "seed"), (#""service_tier":"gold""#, "invalid_value", "service_tier"),
        (#""metadata":{"a":1}"#, "invalid_metadata", "metadata"), (#""modalities":["audio"]"#, "unsupported_modality", "modalities"),
        (#""x_tools":["x_calculator"]"#, "unsupported_parameter", "x_tools"),
        (#""reasoning_effort":"extreme""#, "invalid_value", "reasoning_effort"),
        (#""tool_choice":"required""#, "invalid_value", "tool_choice"),
        (#""tools":[{"type":"function","function":{"name":"a b"}}]"#, "invalid_tool_name", "tools[0].function.name"),
        (
            #""tools":[{"type":"function","function":{"name":"f","parameters":[]}}]"#, "invalid_function_schema",
            "tools[0].function.parameters"
        ),
        (
            #""tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"type":"object","properties":{"a":{}},"required":["a"]}}}]"#,
            "invalid_function_schema", "tools[0].function.parameters"
        ),
        (
            #""tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"g"}}"#,
            "tool_not_found",
            "tool_choice.function.name"
        ),
        (#""response_format":{"type":"yaml"}"#, "invalid_value", "response_format.type"),
    ])
    func badMembersAreRefusedByName(members: String, code: String, param: String) {
        let error = refusal(chat(with: members))
        #expect(error?.code.name == code && error?.param == param, "\(members): \(String(describing: error))")
    }

    @Test(arguments: [
        (#"{"role":"robot","content":"x"}"#, "invalid_messages", "messages[0].role"),
        (#"{"role":"user"}"#, "invalid_messages", "messages[0].content"),
        (#"{"role":"user","content":[]}"#, "invalid_messages", "messages[0].content"),
        (#"{"role":"user","content":[{"type":"hologram"}]}"#, "unsupported_content", "messages[0].content[0].type"),
        (
            #"{"role":"user","content":[{"type":"image_url","image_url":{"url":"ftp://example.org/a.png"}}]}"#, "unsupported_content",
            "messages[0].content[0].image_url.url"
        ),
        (#"{"role":"tool","content":"x","tool_call_id":"c"}"#, "invalid_tool_sequence", "messages[0].tool_call_id"),
        (
            #"{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"user","content":"x"}"#,
            "invalid_tool_sequence", "messages[1]"
        ),
        ("", "invalid_messages", "messages"), ("1", "invalid_messages", "messages[0]"),
    ])
    func badMessagesAreRefusedByPlace(list: String, code: String, param: String) {
        let error = refusal(messages(list))
        #expect(error?.code.name == code && error?.param == param, "\(list): \(String(describing: error))")
    }

    @Test func answeredToolCallsAreAccepted() throws {
        let list = #"""
            {"role":"user","content":"x"},
            {"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},
            {"role":"tool","tool_call_id":"c","content":"4"},{"role":"assistant","content":"four"}
            """#
        #expect(try chatRequest(messages(list)).promptEstimate == 3)
    }

    @Test func aNameTwiceAtTheTopIsRefused() {
        #expect(refusal(#"{"model":"m","messages":[{"role":"user","content":"x"}],"mod\u0065l":"n"}"#)?.code == .jsonParseError)
    }

    @Test func maxCompletionTokensWins() throws {
        #expect(try chatRequest(chat(with: #""max_tokens":5,"max_completion_tokens":7"#)).maxTokens == 7)
    }
}
