import Dispatch
import JSON
import JSONSchema

/// Validates an answer of some 4 KB as a strict `response_format` would have it, many times, and prints one JSON object about it: microseconds of
/// one thread for each step.
@main
struct SchemaBench {
    private static let schema = ##"""
        {"type":"object","additionalProperties":false,"required":["customer","orders","note"],"properties":{
          "customer":{"$ref":"#/$defs/customer"},"note":{"anyOf":[{"type":"string"},{"type":"null"}]},
          "orders":{"type":"array","items":{"$ref":"#/$defs/order"}}},
         "$defs":{
          "customer":{"type":"object","additionalProperties":false,"required":["id","name","email"],"properties":{
            "id":{"type":"integer","minimum":1},"name":{"type":"string"},"email":{"type":"string","pattern":"^[^@\\s]+@[^@\\s]+$"}}},
          "order":{"type":"object","additionalProperties":false,"required":["id","status","items","total"],"properties":{
            "id":{"type":"integer","minimum":1},"status":{"enum":["new","paid","shipped","done"]},"total":{"type":"number","minimum":0},
            "items":{"type":"array","items":{"type":"object","additionalProperties":false,"required":["sku","title","count","price"],
              "properties":{"sku":{"type":"string"},"title":{"type":"string","maxLength":80},"count":{"type":"integer","minimum":1},
                "price":{"type":"number","exclusiveMinimum":0}}}}}}}}
        """##

    private static var answer: String {
        let orders = (1...17).map { order in
            let items = (1...3).map { item in
                #"{"sku":"A-\#(order)\#(item)","title":"Thing \#(item) of order \#(order)","count":\#(item),"price":\#(order).5}"#
            }
            return #"{"id":\#(order),"status":"shipped","items":[\#(items.joined(separator: ","))],"total":\#(order * 6).25}"#
        }
        return
            #"{"customer":{"id":7,"name":"Zo\u00eb Ångström","email":"zoe@example.com"},"orders":[\#(orders.joined(separator: ","))],"note":null}"#
    }

    private static let rounds = 5
    private static let repetitions = 2_000

    static func main() throws {
        let parser = JSONParser()
        let schemaText = Array(schema.utf8)
        let text = Array(answer.utf8)
        let compiled = try JSONSchema(try parser.parse(schemaText, JSONValue.init))
        let parse = try fastest { try parser.parse(text) { _ in } }
        let validate = try parser.parse(text) { answer in
            try fastest { if try compiled.violation(in: answer) != nil { fatalError("the answer is valid") } }
        }
        let compile = try fastest { _ = try JSONSchema(try parser.parse(schemaText, JSONValue.init)) }
        print(
            #"{"bytes": \#(text.count), "schema_bytes": \#(schemaText.count), "repetitions": \#(repetitions), "rounds": \#(rounds), "#
                + #""parse_us": \#(parse), "validate_us": \#(validate), "compile_us": \#(compile)}"#)
    }

    /// Of several rounds, microseconds for each repetition, with two decimals.
    private static func fastest(_ body: () throws -> Void) rethrows -> Double {
        var best = Double.infinity
        for _ in 0..<rounds {
            let start = DispatchTime.now().uptimeNanoseconds
            for _ in 0..<repetitions { try body() }
            best = min(best, Double(DispatchTime.now().uptimeNanoseconds - start) / Double(repetitions))
        }
        return (best / 10).rounded() / 100
    }
}
