import JSON

/// A compiled JSON Schema of draft 2020-12 (https://json-schema.org/draft/2020-12/json-schema-core).
///
/// Schemas come from tenants, so neither compiling nor validating takes long, whatever they say: sizes and steps are bounded. `format` and
/// `content…` are notes, as the draft has them by default, and check nothing.
public struct JSONSchema: Sendable {
    let nodes: [Node]
    let resources: [Resource]
    let root: Int
    let limits: Limits
    /// Whether `unevaluated…` is there, so that what has been evaluated must be remembered.
    let tracksEvaluated: Bool

    public struct Limits: Sendable {
        /// Of nested keywords that hold schemas.
        public var depth = 64
        /// Schemas within the schema, those it refers to included.
        public var schemas = 10_000
        /// Schemas that are applied to values in one validation.
        public var steps = 1_000_000
        /// How deep schemas may be applied within each other, which takes stack.
        public var nesting = 128
        /// Values in all `enum` together.
        public var enumValues = Int.max
        /// Whether a keyword that checks nothing here is an error. By the draft it is ignored.
        public var refusesUnknownKeywords = false
        /// Whether a pattern that can take exponential time is an error, rather than given up when a value takes it there.
        public var refusesSlowPatterns = false
        public init() {}
    }

    /// - Parameter document: gives other documents that references name; none by default, as nothing is ever fetched.
    /// - Throws: `SchemaError`.
    public init(
        _ schema: JSONValue, limits: Limits = Limits(), document: @escaping (String) -> JSONValue? = { _ in nil }
    ) throws(SchemaError) {
        var compiler = SchemaCompiler(limits: limits, documents: SchemaDocuments(limits: limits, read: document))
        root = try compiler.compile(schema)
        nodes = compiler.nodes
        resources = compiler.resources
        self.limits = limits
        tracksEvaluated = compiler.tracksEvaluated
    }

    /// - Returns: nil for a valid value, else what it violates first.
    /// - Throws: `SchemaError.tooComplex` when the limits do not suffice to tell.
    public func violation(in value: JSONElement) throws(SchemaError) -> Violation? {
        // A walk without the text is much quicker, and nearly always enough.
        var evaluator = SchemaEvaluator(self)
        var isValid = evaluator.isValid(value.withoutText)
        if evaluator.lacksText {
            evaluator = SchemaEvaluator(self)
            isValid = evaluator.isValid(value)
        }
        if isValid { return nil }
        if evaluator.gaveUp { throw SchemaError.tooComplex }
        return evaluator.failure.map { Violation(keyword: $0.keyword, pointer: value.withoutText.pointer(to: $0.position)) }
    }
}

/// The first place where a value is not as the schema wants it.
public struct Violation: Sendable, Equatable, CustomStringConvertible {
    /// The keyword that is violated, such as `minimum`; `false` where nothing is allowed.
    public let keyword: String
    /// A JSON Pointer (RFC 6901) into the value; empty = all of it.
    public let pointer: String

    public var description: String { "\(pointer.isEmpty ? "The value" : pointer) does not satisfy '\(keyword)'" }
}

public enum SchemaError: Error, Sendable, Equatable {
    /// A keyword's value is not what the draft allows; `pointer` names it (RFC 6901).
    case invalid(pointer: String, reason: String)
    /// A reference to what is not there.
    case unresolved(pointer: String, reference: String)
    case tooDeep(limit: Int)
    case tooLarge(limit: Int)
    case tooManyValues(limit: Int)
    /// Validating took too many steps.
    case tooComplex
}

extension JSONElement {
    /// The way to the value, or member's name, at a position.
    fileprivate func pointer(to position: Int) -> String {
        var way = ""
        var last: (step: String, element: JSONElement)?
        for member in members where member.nameElement.position <= position {
            last = (member.name.description.replacing("~", with: "~0").replacing("/", with: "~1"), member.value)
        }
        for (index, element) in elements.enumerated() where element.position <= position { last = (String(index), element) }
        if self.position < position, let last { way = "/\(last.step)\(last.element.pointer(to: position))" }
        return way
    }
}
