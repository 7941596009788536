import JSON
import JSONSchema
import Testing

@Suite struct JSONSchemaTests {
    private static func compile(_ text: String, limits: JSONSchema.Limits = JSONSchema.Limits()) throws -> JSONSchema {
        try JSONSchema(try JSONParser().parse(Array(text.utf8), JSONValue.init), limits: limits)
    }

    private static func violation(_ value: String, _ schema: String) throws -> Violation? {
        let schema = try compile(schema)
        return try JSONParser().parse(Array(value.utf8)) { try schema.violation(in: $0) }
    }

    /// Each line: the schema, the value, and where it is violated by what.
    @Test(arguments: [
        (#"{"type":"object"}"#, "[]", "", "type"),
        (#"{"properties":{"a":{"items":{"minimum":3}}}}"#, #"{"b":0,"a":[3, 2]}"#, "/a/1", "minimum"),
        (#"{"properties":{"a":{"enum":[1]}},"additionalProperties":false}"#, #"{"a":1, "x~/y":2}"#, "/x~0~1y", "additionalProperties"),
        (#"{"required":["a"]}"#, #" {"b":1} "#, "", "required"),
        (##"{"allOf":[true,{"$ref":"#/$defs/d"}],"$defs":{"d":{"maxLength":1}}}"##, #""ab""#, "", "maxLength"),
        (#"{"items":{"anyOf":[{"type":"null"},{"type":"string"}]}}"#, #"["a",null,1]"#, "/2", "anyOf"),
        (#"{"items":{"oneOf":[{"type":"integer"},{"minimum":2}]}}"#, "[1.5, 1, 3]", "/0", "oneOf"),
        (#"{"propertyNames":{"pattern":"^a"}}"#, #"{"ab":{"c":1},"ba":2}"#, "/ba", "pattern"),
        (#"{"if":{"type":"string"},"then":{"minLength":2},"else":{"type":"null"}}"#, #""x""#, "", "minLength"),
        (#"{"not":{"type":"null"}}"#, "null", "", "not"), ("false", "1", "", "false"),
        (#"{"unevaluatedProperties":{"type":"null"}}"#, #"{"a":null,"b":1}"#, "/b", "type"),
    ])
    func theFirstViolationIsNamed(schema: String, value: String, pointer: String, keyword: String) throws {
        let found = try #require(try Self.violation(value, schema))
        #expect((found.pointer, found.keyword) == (pointer, keyword))
    }

    /// Each line: a schema that is none, and where the mistake is.
    @Test(arguments: [
        ("1", ""), (#"{"type":"text"}"#, "/type"), (#"{"type":["null",1]}"#, "/type"), (#"{"minLength":-1}"#, "/minLength"),
        (#"{"maxItems":1.5}"#, "/maxItems"), (#"{"multipleOf":0}"#, "/multipleOf"), (#"{"pattern":"("}"#, "/pattern"),
        (#"{"required":["a","a"]}"#, "/required"), (#"{"required":"a"}"#, "/required"), (#"{"enum":1}"#, "/enum"),
        (#"{"properties":{"a/b":{"minimum":"1"}}}"#, "/properties/a~1b/minimum"), (#"{"items":[{}]}"#, "/items"),
        (#"{"anyOf":[]}"#, "/anyOf"), (#"{"anyOf":{}}"#, "/anyOf"), (#"{"patternProperties":{"[":{}}}"#, "/patternProperties/["),
        (#"{"$defs":{"unused":{"type":1}}}"#, "/$defs/unused/type"), (#"{"uniqueItems":1}"#, "/uniqueItems"), (#"{"title":1}"#, "/title"),
        (#"{"$ref":1}"#, "/$ref"), (#"{"pattern":"(((a{1000}){1000}){1000})"}"#, "/pattern"),
    ])
    func aMistakeIsFoundAndNamed(schema: String, pointer: String) {
        do {
            _ = try Self.compile(schema)
            Issue.record("\(schema) was taken")
        } catch SchemaError.invalid(let place, _) {
            #expect(place == pointer)
        } catch {
            Issue.record("\(schema): \(error)")
        }
    }

    @Test(arguments: ["#/$defs/b", "#b", "other.json", "https://example.com/schema", "/etc/passwd", "file:///etc/passwd"])
    func referencesLeadNowhereElse(reference: String) {
        #expect(throws: SchemaError.unresolved(pointer: "/items", reference: reference)) {
            try Self.compile(##"{"items":{"$ref":"\##(reference)"},"$defs":{"a":{}}}"##)
        }
    }

    /// Whether a number's nearest `Double` says it, or only its text does.
    @Test(arguments: [
        ("0.30000000000000000001", #"{"maximum":0.3}"#, "maximum"), ("3.0000000000000000001", #"{"type":"integer"}"#, "type"),
        ("0.0075000000000000000001", #"{"multipleOf":0.0001}"#, "multipleOf"),
        ("9007199254740993.0", #"{"const":9007199254740992}"#, "const"),
        ("[1.0, 1.00000000000000000001, 1]", #"{"uniqueItems":true}"#, "uniqueItems"),
        (#"{"a":[1.00000000000000000001]}"#, #"{"enum":[{"a":[1]}]}"#, "enum"),
    ])
    func numbersCountAsTheyAreWritten(value: String, schema: String, keyword: String) throws {
        #expect(try Self.violation(value, schema)?.keyword == keyword)
    }

    @Test(arguments: [
        ("0.3", #"{"maximum":0.3}"#), ("3.0", #"{"type":"integer"}"#), ("1e2", #"{"type":"integer","minimum":100,"maximum":1e2}"#),
        ("0.0075", #"{"multipleOf":0.0001}"#), (#"{"a":[1.0]}"#, #"{"enum":[{"a":[1]}]}"#), (#"[1, 1.5, "1"]"#, #"{"uniqueItems":true}"#),
    ])
    func theSameNumberMayBeWrittenOtherwise(value: String, schema: String) throws {
        #expect(try Self.violation(value, schema) == nil)
    }

    // MARK: Bounds

    private static func limits(_ change: (inout JSONSchema.Limits) -> Void) -> JSONSchema.Limits {
        var limits = JSONSchema.Limits()
        change(&limits)
        return limits
    }

    @Test(arguments: [
        "^(a+)+$", "(x+x+)+y", #"^(\\w+\\s?)*$"#, "^(ab|a|b)*$", "^((xy)*)*z$", "([a-zA-Z]+)*=", "^(([a-z])+.)+[A-Z]([a-z])+$",
    ])
    func exponentialPatternsAreRefusedWhereAskedFor(pattern: String) throws {
        let schema = #"{"pattern":"\#(pattern)"}"#
        _ = try Self.compile(schema)
        #expect(throws: SchemaError.self) { try Self.compile(schema, limits: Self.limits { $0.refusesSlowPatterns = true }) }
        let names = #"{"patternProperties":{"\#(pattern)":true}}"#
        #expect(throws: SchemaError.self) { try Self.compile(names, limits: Self.limits { $0.refusesSlowPatterns = true }) }
    }

    @Test(arguments: [
        "^[a-z0-9]+(-[a-z0-9]+)*$", #"^\\d{4}-\\d{2}-\\d{2}(T\\d{2}:\\d{2}(:\\d{2})?)?$"#, #"^[^@\\s]+@[^@\\s]+\\.[a-z]{2,}$"#,
        "^(GET|PUT|POST)*$", #"^(\\([0-9]{3}\\))?[0-9]{3}-[0-9]{4}$"#, "^.*foo.*bar.*$",
        "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==)?$",
    ])
    func usualPatternsAreTaken(pattern: String) throws {
        _ = try Self.compile(#"{"pattern":"\#(pattern)"}"#, limits: Self.limits { $0.refusesSlowPatterns = true })
    }

    @Test func keywordsThatCheckNothingAreRefusedWhereAskedFor() throws {
        let strict = Self.limits { $0.refusesUnknownKeywords = true }
        _ = try Self.compile(#"{"title":"a","default":{"maxlength":1},"properties":{"maxlength":{"format":"uri"}}}"#, limits: strict)
        #expect(throws: SchemaError.invalid(pointer: "/items/maxlength", reason: "This keyword is unknown.")) {
            try Self.compile(#"{"items":{"maxlength":1}}"#, limits: strict)
        }
        _ = try Self.compile(#"{"items":{"maxlength":1}}"#)
    }

    @Test func theValuesOfAllEnumsAreBounded() throws {
        let few = Self.limits { $0.enumValues = 4 }
        _ = try Self.compile(#"{"enum":[1,2],"items":{"enum":[3,4]}}"#, limits: few)
        #expect(throws: SchemaError.tooManyValues(limit: 4)) { try Self.compile(#"{"enum":[1,2],"items":{"enum":[3,4,5]}}"#, limits: few) }
    }

    @Test func nestedSchemasAreBounded() throws {
        var limits = JSONSchema.Limits()
        limits.depth = 16
        func nested(_ depth: Int) -> String { String(repeating: #"{"items":"#, count: depth) + "{}" + String(repeating: "}", count: depth) }
        _ = try Self.compile(nested(16), limits: limits)
        #expect(throws: SchemaError.tooDeep(limit: 16)) { try Self.compile(nested(17), limits: limits) }
    }

    @Test func theNumberOfSchemasIsBounded() {
        var limits = JSONSchema.Limits()
        limits.schemas = 100
        let many = (0..<100).map { #""p\#($0)":{}"# }.joined(separator: ",")
        #expect(throws: SchemaError.tooLarge(limit: 100)) { try Self.compile(#"{"properties":{\#(many)}}"#, limits: limits) }
    }

    /// Each is without bounds exponential, or endless.
    @Test(arguments: [
        (#"{"pattern":"^(a+)+$"}"#, #""aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!""#),
        (#"{"pattern":"^(a|aa)+$"}"#, #""aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!""#),
        (##"{"$ref":"#"}"##, "1"), (##"{"not":{"$ref":"#"}}"##, "1"), (##"{"anyOf":[{"$ref":"#"},true]}"##, "1"),
        (
            ##"{"$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"},{"$ref":"#/$defs/b"}]},"b":{"allOf":[{"$ref":"#/$defs/c"},{"$ref":"#/$defs/c"}]},"##
                + ##""c":{"allOf":[{"$ref":"#/$defs/d"},{"$ref":"#/$defs/d"}]},"d":{"items":{"$ref":"#/$defs/a"}}},"$ref":"#/$defs/a"}"##,
            String(repeating: "[", count: 40) + String(repeating: "]", count: 40)
        ),
    ])
    func whatWouldTakeTooLongIsGivenUp(schema: String, value: String) {
        #expect(throws: SchemaError.tooComplex) { try Self.violation(value, schema) }
    }

    // MARK: Numbers

    @Test(arguments: [
        (#"{"multipleOf":0.01}"#, "4.35", true), (#"{"multipleOf":0.01}"#, "4.351", false), (#"{"const":1}"#, "1.0", true),
        (#"{"const":100}"#, "1e2", true), (#"{"maximum":9007199254740992}"#, "9007199254740993", false),
        (#"{"type":"integer"}"#, "1e3", true),
        (#"{"type":"integer"}"#, "1.5", false), (#"{"enum":[0]}"#, "-0.0", true), (#"{"multipleOf":0.3}"#, "0.9", true),
        (#"{"uniqueItems":true}"#, "[1, 1.0]", false), (#"{"uniqueItems":true}"#, "[\"\u{e9}\", \"e\u{301}\"]", true),
    ])
    func numbersAreExactAndTextsTheirBytes(schema: String, value: String, isValid: Bool) throws {
        #expect((try Self.violation(value, schema) == nil) == isValid)
    }
}
