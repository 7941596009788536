import Catalog
import Foundation
import Inference
import OpenAI
import Server
import Testing

@Suite struct ChatTranslationTests {
    private func translated(_ json: String, _ adapter: EngineAdapter = .openAI) throws -> NSDictionary? {
        try RequestDocument.read(Array(json.utf8), parser) { root in
            let chat = try ChatRequest(checking: root, defaults: EndpointDefaults(), adapter: adapter)
            guard let translation = ChatTranslation(for: chat, requestID: "req_1") else { return nil }
            return try JSONSerialization.jsonObject(with: Data(translation.rewritten(root))) as? NSDictionary
        }
    }

    private func object(_ json: String) throws -> NSDictionary? { try JSONSerialization.jsonObject(with: Data(json.utf8)) as? NSDictionary }

    @Test(arguments: [
        #"{"messages":[{"role":"user","content":"hi"}],"tools":[{"type":"function","function":{"name":"f"}}]}"#,
        #"{"messages":[{"role":"system","content":"a"},{"role":"user","content":[{"type":"text","text":"http://a"}]}],"functions":null}"#,
        #"{"messages":[{"role":"developer","content":"a"}]}"#,
    ])
    func mostRequestsStayAsTheyAre(json: String) throws { #expect(try translated(json) == nil) }

    @Test func functionsBecomeTools() throws {
        #expect(
            try translated(
                #"""
                {"model":"m", "functions": [ {"name":"f","parameters":{}}, {"name":"g"} ], "function_call" : {"name":"g"}, "parallel_tool_calls": true,
                 "messages":[{"role":"user","content":"hi"}], "foo": 1.50}
                """#)
                == object(
                    #"""
                    {"model":"m","tools":[{"type":"function","function":{"name":"f","parameters":{}}},{"type":"function","function":{"name":"g"}}],
                     "tool_choice":{"type":"function","function":{"name":"g"}},"parallel_tool_calls":false,
                     "messages":[{"role":"user","content":"hi"}],"foo":1.5}
                    """#))
    }

    @Test func callsOfOldAndTheirAnswersGetIds() throws {
        #expect(
            try translated(
                #"""
                {"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},
                 {"role":"function","name":"f","content":"1"},{"role":"assistant","content":"ok","function_call":null}]}
                """#)
                == object(
                    #"""
                    {"messages":[{"role":"user","content":"hi"},
                     {"role":"assistant","content":null,"tool_calls":[{"id":"call_of_message_1","type":"function","function":{"name":"f","arguments":"{}"}}]},
                     {"role":"tool","tool_call_id":"call_of_message_1","content":"1"},{"role":"assistant","content":"ok"}],"parallel_tool_calls":false}
                    """#))
    }

    @Test func developersAreSystemWhereTheEngineHasNone() throws {
        let json = #"{"messages":[{"content":"a","role":"developer","x":{"role":"developer"}},{"role":"user","content":"developer"}]}"#
        let expected = try object(
            #"{"messages":[{"content":"a","role":"system","x":{"role":"developer"}},{"role":"user","content":"developer"}]}"#)
        #expect(try translated(json, .llamaCpp) == expected && translated(json, .vLLM) == expected && translated(json, .openAI) == nil)
    }

    @Test func addressesOfImagesBecomePlaceholders() throws {
        let url = #""https:\/\/a.example\/b""#
        #expect(
            try translated(
                #"""
                {"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"detail":"low","url": \#(url) }},{"type":"text","text":\#(url)},
                 {"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},{"type":"image_url","image_url":{"url":"http://c"}}]}]}
                """#)
                == object(
                    #"""
                    {"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"detail":"low","url":"x-xerotier-image:req_1:0:"}},
                     {"type":"text","text":\#(url)},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},
                     {"type":"image_url","image_url":{"url":"x-xerotier-image:req_1:1:"}}]}]}
                    """#))
    }

    @Test(arguments: [
        (#""functions":[]"#, "invalid_value", "functions"), (#""functions":{}"#, "invalid_value", "functions"),
        (#""functions":[7]"#, "invalid_value", "functions[0]"), (#""function_call":"auto""#, "invalid_value", "function_call"),
        (#""functions":[{"name":"f"}],"function_call":"required""#, "invalid_value", "function_call"),
        (#""functions":[{"name":"f"}],"function_call":{}"#, "invalid_value", "function_call"),
        (#""functions":[{"name":"f"}],"tools":[]"#, "unsupported_combination", "functions"),
        (#""functions":[{"name":"f"}],"tool_choice":"auto""#, "unsupported_combination", "functions"),
    ])
    func whatIsWrongWithThemIsSaid(members: String, code: String, param: String) throws {
        let error = try #require(refusal(chat(with: members)))
        #expect(error.code.name == code && error.param == param)
    }

    @Test(arguments: [
        ("tools[1].function.name", "functions[1].name"), ("tools[0].function.parameters", "functions[0].parameters"),
        ("tools", "functions"),
        ("tool_choice.function.name", "function_call.name"), ("tool_choice", "function_call"),
        ("messages[2].tool_call_id", "messages[2].name"),
        ("messages[2]", "messages[2]"), ("temperature", "temperature"),
    ])
    func errorsAboutToolsNameWhatWasSent(new: String, old: String) throws {
        let request = try chatRequest(chat(with: #""functions":[{"name":"f"}]"#))
        let translation = try #require(ChatTranslation(for: request, requestID: "req_1"))
        let error = try #require(translation.inOldWords(APIError.invalid(new, "'\(new)' is wrong.")) as? APIError)
        #expect(error.param == old && error.message == "'\(old)' is wrong.")
    }
}
