import Inference
import Testing

@Suite struct SchemaCacheTests {
    private func ask(_ cache: SchemaCache, _ number: Int, isStrict: Bool = true) throws {
        let schema = #"{"type":"object","properties":{"p\#(number)":{}},"required":["p\#(number)"],"additionalProperties":false}"#
        let format = #""response_format":{"type":"json_schema","json_schema":{"name":"a","strict":\#(isStrict),"schema":\#(schema)}}"#
        _ = try chatRequest(chat(with: format), schemas: cache)
    }

    @Test func whatIsAskedForAgainIsKeptAndTheRestForgotten() throws {
        let cache = SchemaCache(bytesOfGeneration: 400)
        for _ in 0..<3 { try ask(cache, 1) }
        #expect(cache.count == 1)
        try ask(cache, 2, isStrict: false)
        #expect(cache.count == 1, "what is not strict is not compiled")
        for number in 10..<60 { try ask(cache, number) }
        #expect((2...12).contains(cache.count))
    }

    @Test func aBadSchemaIsNotKept() throws {
        let cache = SchemaCache()
        let format = #""response_format":{"type":"json_schema","json_schema":{"name":"a","strict":true,"schema":{"pattern":"("}}}"#
        for _ in 0..<2 { #expect(throws: (any Error).self) { try chatRequest(chat(with: format), schemas: cache) } }
        #expect(cache.count == 0)
    }
}
