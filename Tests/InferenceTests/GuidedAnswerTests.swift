import Foundation
import Inference
import Testing

/// Calls that an engine is guided to, by what it is sent and what becomes of its answer, whole and in pieces.
@Suite struct GuidedAnswerTests {
    private static let tools = #"""
        "tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}},
          {"type":"function","function":{"name":"time","parameters":{"$defs":{"z":{"type":"string"}},"properties":{"zone":{"$ref":"#/$defs/z"}}}}}]
        """#
    private static let identity = AnswerIdentity(id: "chatcmpl-1", created: 5, model: "small", serviceTier: "default", fingerprint: "fp_1")

    private func message(_ content: String, _ members: String, reason: String = "stop") throws -> (message: NSDictionary, reason: String) {
        let chat = try chatRequest(chat(with: members))
        let engine = try JSONSerialization.data(
            withJSONObject: ["choices": [["message": ["content": content], "finish_reason": reason]]])
        let answer = try parser.parse(Array(engine)) { try ChatAnswer(rewriting: $0, as: Self.identity, chat) }
        let object = try JSONSerialization.jsonObject(with: Data(answer.bytes + Array("}".utf8))) as? [String: Any]
        let choice = try #require((object?["choices"] as? [[String: Any]])?.first)
        return (try #require(choice["message"] as? NSDictionary), try #require(choice["finish_reason"] as? String))
    }

    private func calls(_ message: NSDictionary) -> [String] {
        (message["tool_calls"] as? [[String: Any]] ?? []).map { call in
            let function = call["function"] as? [String: String] ?? [:]
            return "\(function["name"] ?? "?") \(function["arguments"] ?? "?")"
        }
    }

    /// The calls of a stream whose content comes in pieces of so many characters.
    private func streamed(_ content: String, by size: Int, _ members: String) throws -> (calls: [String], content: String, reason: String?)
    {
        var grammar = ChatStreamGrammar(Self.identity, try chatRequest(chat(with: members)), vendorEvents: false)
        var output: [UInt8] = []
        let characters = Array(content)
        for start in stride(from: 0, to: characters.count, by: size) {
            let piece = String(characters[start..<min(start + size, characters.count)])
            let chunk = try JSONSerialization.data(withJSONObject: ["choices": [["index": 0, "delta": ["content": piece]]]])
            output += try parser.parse(Array(chunk)) { try grammar.receive($0) }
        }
        output += try parser.parse(Array(#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#.utf8)) { try grammar.receive($0) }
        var calls: [String] = []
        var text = ""
        for frame in String(decoding: output, as: UTF8.self).components(separatedBy: "\n\n") where !frame.isEmpty {
            let chunk = try JSONSerialization.jsonObject(with: Data(frame.dropFirst(6).utf8)) as? [String: Any]
            let delta = (chunk?["choices"] as? [[String: Any]])?.first?["delta"] as? [String: Any]
            text += delta?["content"] as? String ?? ""
            for piece in delta?["tool_calls"] as? [[String: Any]] ?? [] {
                let function = try #require(piece["function"] as? [String: String])
                let index = try #require(piece["index"] as? Int)
                if let name = function["name"] { calls.append(name + " ") }
                #expect(index == calls.count - 1 && (piece["id"] != nil) == (function["name"] != nil))
                calls[index] += function["arguments"] ?? ""
            }
        }
        return (calls, text, grammar.finishReason)
    }

    private static let named = #""tool_choice":{"type":"function","function":{"name":"weather"}},"# + tools
    private static let required = #""tool_choice":"required","# + tools
    private static let single = #""tool_choice":"required","parallel_tool_calls":false,"# + tools
    private static let free = #""response_format":{"type":"json_object"},"# + tools

    /// Each: what the engine says, and the calls that it is.
    static let answers: [(String, String, [String], String)] = [
        (named, #" { "city" : "Z\u00fcrich }]\"" } "#, [#"weather { "city" : "Z\u00fcrich }]\"" }"#], ""),
        (
            required, #"[{"name":"weather","arguments":{"city":"Bern"}} , {"name":"time","arguments":{"zone":"x"}}]"#,
            [#"weather {"city":"Bern"}"#, #"time {"zone":"x"}"#], ""
        ),
        (single, "{\n \"name\" : \"time\",\n \"arguments\" : {\"zone\":[{\"a\":{}}, \"}\"]}\n}\n", [#"time {"zone":[{"a":{}}, "}"]}"#], ""),
        (free, #"{"answer":{"user": "ä\n", "n":[1,{}]}}"#, [], #"{"user": "ä\n", "n":[1,{}]}"#),
        (free, #"[{"name":"weather","arguments":{}}]"#, ["weather {}"], ""),
    ]

    @Test(arguments: answers)
    func whatIsSaidBecomesCalls(members: String, said: String, calls: [String], content: String) throws {
        let (message, reason) = try message(said, members)
        #expect(self.calls(message) == calls)
        #expect(message["content"] as? String == (calls.isEmpty ? content : nil))
        #expect(reason == (calls.isEmpty ? "stop" : "tool_calls"))
        for size in [1, 2, 3, 7, 1000] {
            let streamed = try streamed(said, by: size, members)
            #expect(streamed.calls == calls && streamed.content == content && streamed.reason == reason, "pieces of \(size)")
        }
    }

    @Test(arguments: [
        (required, "Hello."), (required, "[]"), (required, #"{"name":"weather","arguments":{}}"#), (required, #"[{"name":"weather"}]"#),
        (required, #"[{"arguments":{},"name":"weather"}]"#), (required, #"[{"name":"weather","arguments":{}}"#),
        (required, #"[{"name":"weather","arguments":}]"#), (required, #"[{"name":"other","arguments":{}}]"#), (named, #"{"city":"#),
        (named, ""), (single, #"{"name":"we\u0061ther","arguments":{}}"#), (single, #"{"name":"time","arguments":{}} more"#),
        (free, #"{"user":1}"#), (free, #"{"answer":[1]}"#), (free, #"{"answer":1.5}"#),
    ])
    func whatIsNoCallIsRefused(members: String, said: String) throws {
        #expect(throws: (any Error).self) { try message(said, members) }
        #expect(throws: (any Error).self) { try streamed(said, by: 2, members) }
    }

    @Test func aCutCallPassesWhereNothingStrictWasAsked() throws {
        let (message, reason) = try message(#"[{"name":"weather","arguments":{"city":"B"#, Self.required, reason: "length")
        #expect(calls(message) == [#"weather {"city":"B"#] && reason == "length")
    }

    // MARK: What the engine is sent

    private func sent(_ members: String, adapter: EngineAdapter = .llamaCpp, messages: String = #"{"role":"user","content":"hi"}"#) throws
        -> NSDictionary
    {
        let text = #"{"model":"m","messages":[\#(messages)],\#(members)}"#
        return try UpstreamBodyTests.upstreamBody(text, adapter: adapter).members as NSDictionary
    }

    private func at(_ path: String, in object: NSDictionary) -> Any? {
        path.split(separator: ".").reduce(object as Any?) { ($0 as? [String: Any])?[String($1)] }
    }

    @Test func toolsAreToldAndASchemaLeavesNoOtherAnswer() throws {
        let body = try sent(Self.single)
        #expect(body["tools"] == nil && body["tool_choice"] == nil && body["parallel_tool_calls"] == nil)
        let format = try #require(at("response_format.json_schema.schema", in: body) as? NSDictionary)
        #expect(format["$ref"] as? String == "#/$defs/call")
        #expect(at("$defs.f1.properties.zone.$ref", in: format) as? String == "#/$defs/f1/$defs/z")
        let first = try #require((body["messages"] as? [[String: String]])?.first)
        #expect(first["role"] == "system" && first["content"]?.contains(#""name":"weather""#) == true)
        #expect((body["messages"] as? [Any])?.count == 2)
    }

    @Test func aNamedFunctionIsGuidedByItsOwnSchema() throws {
        let body = try sent(Self.named)
        let schema = at("response_format.json_schema.schema", in: body) as? NSDictionary
        #expect(schema == ["type": "object", "properties": ["city": ["type": "string"]]])
        let first = try #require((body["messages"] as? [[String: String]])?.first)
        #expect(first["content"]?.contains("zone") == false)
    }

    @Test func instructionsGoIntoTheFirstSystemMessage() throws {
        let body = try sent(Self.named, messages: #"{"role":"system","content":"Be brief."},{"role":"user","content":"hi"}"#)
        let list = try #require(body["messages"] as? [[String: String]])
        #expect(list.count == 2 && list[0]["content"]?.hasPrefix("Be brief.\n\nYou can call functions.") == true)
    }

    @Test(arguments: [named, required, free])
    func anEngineThatObeysGetsWhatTheClientWrote(members: String) throws {
        let body = try sent(members, adapter: .openAI)
        let asked = try #require(try JSONSerialization.jsonObject(with: Data("{\(members)}".utf8)) as? NSDictionary)
        for (name, value) in asked { #expect(body[name] as? NSObject == value as? NSObject) }
    }

    @Test func onlyAllowedToolsAreSentOn() throws {
        let choice =
            #""tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"\#("auto")","tools":[{"type":"function","function":{"name":"time"}}]}},"#
        let body = try sent(choice + Self.tools, adapter: .vLLM)
        #expect(body["tool_choice"] as? String == "auto")
        #expect((body["tools"] as? [NSDictionary])?.map { at("function.name", in: $0) as? String } == ["time"])
        let required = try sent(choice.replacingOccurrences(of: "auto", with: "required") + Self.tools, adapter: .vLLM)
        #expect(required["tool_choice"] as? String == "required")
    }
}
