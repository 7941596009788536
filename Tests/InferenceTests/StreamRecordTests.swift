import Inference
import Testing

@Suite struct StreamRecordTests {
    static func frame(_ delta: String, choice: Int = 0, logprobs: String = "null", finish: String = "null", suffix: String = "") -> String {
        #"data: {"id":"chatcmpl-1","choices":[{"index":\#(choice),"delta":{\#(delta)},"logprobs":\#(logprobs),"finish_reason":\#(finish)}]\#(suffix)}"#
            + "\n\n"
    }

    static func text(_ text: String, choice: Int = 0) -> String { frame(#""content":"\#(text)""#, choice: choice) }

    static func record(_ writes: [String]) -> String {
        var record = StreamRecord()
        for write in writes { record.append(Array(write.utf8)) }
        return String(decoding: record.bytes, as: UTF8.self)
    }

    @Test func neighboursOfOneTextBecomeOneChunk() {
        let role = Self.frame(#""role":"assistant","content":"""#)
        let stop = Self.frame("", finish: #""stop""#)
        #expect(
            Self.record([
                role + Self.text("Hel"), Self.text(#"lo \""#), Self.text(#"w\u00e9\\"#) + Self.text("!"), stop, "data: [DONE]\n\n",
            ])
                == role + Self.text(#"Hello \"w\u00e9\\!"#) + stop + "data: [DONE]\n\n")
    }

    @Test func choicesThatTakeTurnsAreJoinedEachForItself() {
        let writes = (0..<6).map { Self.text("\($0)", choice: $0 % 2) }
        #expect(Self.record(writes) == Self.text("024", choice: 0) + Self.text("135", choice: 1))
    }

    @Test func thoughtsAndTextStayApartAndInOrder() {
        let thought = Self.frame(#""reasoning_content":"a""#)
        #expect(
            Self.record([thought, thought, Self.text("b"), Self.text("c"), thought])
                == Self.frame(#""reasoning_content":"aa""#) + Self.text("bc") + thought)
    }

    @Test func argumentsOfACallAreJoinedAndItsBeginningIsKept() {
        let opening = Self.frame(#""tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]"#)
        func more(_ text: String, call: Int = 0) -> String {
            Self.frame(#""tool_calls":[{"index":\#(call),"function":{"arguments":"\#(text)"}}]"#)
        }
        #expect(
            Self.record([opening, more(#"{\"a\""#), more(":1}"), more("{", call: 1), more("}", call: 1)])
                == opening + more(#"{\"a\":1}"#) + more("{}", call: 1))
    }

    @Test func whatSaysMoreThanItsTextStaysAsItIs() {
        let withLogprobs = Self.frame(#""content":"a""#, logprobs: #"{"content":[],"refusal":null}"#)
        let event = "event: x_chat.reasoning\ndata: {\"delta\":\"x\"}\n\n"
        let writes = [withLogprobs, withLogprobs, Self.text("a"), event, Self.text("b"), Self.frame(#""content":"a","more":1"#)]
        #expect(Self.record(writes) == writes.joined())
    }

    @Test func aTextThatLooksLikeAnEndDoesNotEndIt() {
        let trap = Self.text(#"\"},\"logprobs\":null,\"finish_reason\":null}"#)
        #expect(Self.record([trap, Self.text("b")]) == Self.text(#"\"},\"logprobs\":null,\"finish_reason\":null}b"#))
    }

    @Test func textsOfCompletionsAreJoinedEachForItself() {
        func text(_ text: String, choice: Int, finish: String = "null") -> String {
            #"data: {"id":"cmpl-1","choices":[{"index":\#(choice),"text":"\#(text)","logprobs":null,"finish_reason":\#(finish)}]}"# + "\n\n"
        }
        let end = text("!", choice: 0, finish: #""stop""#)
        #expect(
            Self.record([text("a", choice: 0), text("b", choice: 1), text(#"\","#, choice: 0), text("d", choice: 1), end])
                == text(#"a\","#, choice: 0) + text("bd", choice: 1) + end)
    }
}
