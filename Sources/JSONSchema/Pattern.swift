import CPCRE2

/// A regular expression of ECMA-262, as JSON Schema wants them, run by PCRE2 (https://www.pcre.org/current/doc/html/pcre2api.html).
///
/// A match that would take too long is given up: patterns come from tenants, and some are exponential.
///
/// `@unchecked Sendable`: compiled code is only read.
final class Pattern: @unchecked Sendable {
    private let code: OpaquePointer
    private let context: OpaquePointer
    private let text: [UInt8]

    /// PCRE2 counts each call of its own matching function.
    private static let longestMatch: UInt32 = 100_000
    /// In KiB, for what the match must remember.
    private static let largestHeap: UInt32 = 4_096

    enum Answer { case matches, differs, gaveUp }

    /// - Returns: nil for a text that is no pattern, or needs more than 64 KiB of code.
    init?(_ text: [UInt8]) {
        let options =
            PCRE2_UTF | PCRE2_ALT_BSUX | PCRE2_ALLOW_EMPTY_CLASS | PCRE2_MATCH_UNSET_BACKREF | PCRE2_DOLLAR_ENDONLY
            | PCRE2_NEVER_BACKSLASH_C
        var error: Int32 = 0
        var offset = 0
        let compiling = pcre2_compile_context_create_8(nil)
        defer { pcre2_compile_context_free_8(compiling) }
        pcre2_set_compile_extra_options_8(compiling, UInt32(PCRE2_EXTRA_ALT_BSUX))
        pcre2_set_parens_nest_limit_8(compiling, 50)
        let text = Self.withShortCategories(text)
        guard let code = pcre2_compile_8(text, text.count, UInt32(options), &error, &offset, compiling) else { return nil }
        guard let context = pcre2_match_context_create_8(nil) else { fatalError("out of memory") }
        pcre2_set_match_limit_8(context, Self.longestMatch)
        pcre2_set_heap_limit_8(context, Self.largestHeap)
        self.code = code
        self.text = text
        self.context = context
    }

    deinit {
        pcre2_match_context_free_8(context)
        pcre2_code_free_8(code)
    }

    /// Whether a short text takes it exponential time. Texts that could are tried: what the pattern names, over and over, and then something else.
    var isSlow: Bool {
        // Without two repetitions there is no choice to be made again and again.
        guard text.count(where: { "*+{".utf8.contains($0) }) > 1 || text.contains(UInt8(ascii: "|")) else { return false }
        guard let context = pcre2_match_context_create_8(nil) else { fatalError("out of memory") }
        defer { pcre2_match_context_free_8(context) }
        pcre2_set_match_limit_8(context, Self.longestTrial)
        return Self.pumps(for: text).contains { pump in
            // A pattern that needs some other character is not even tried on a text without it.
            let trial = Array(repeatElement(pump, count: Self.trialLength / pump.count).joined()) + [1] + text + [1]
            return trial.withUnsafeBytes { find(in: $0, context) } == .gaveUp
        }
    }

    /// A text of so many bytes takes no pattern that is not exponential so many calls, unless three repetitions follow each other.
    private static let trialLength = 32
    private static let longestTrial: UInt32 = 50_000

    /// The words and characters that stand in a pattern, and one of each usual class.
    private static func pumps(for text: [UInt8]) -> [[UInt8]] {
        let isWordByte: (UInt8) -> Bool = { byte in
            byte >= 0x80 || byte == 0x5F || (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte & 0xDF)
        }
        let words = Set(text.split { !isWordByte($0) }.map(Array.init).filter { $0.count <= 8 }).prefix(16)
        let single = Set(text.filter { (0x21...0x7E).contains($0) } + Array("aZ0 -_.".utf8)).prefix(48).map { [$0] }
        return words + single
    }

    /// Whether it is found anywhere in the text, which is UTF-8.
    func find(in text: UnsafeRawBufferPointer) -> Answer { find(in: text, context) }

    private func find(in text: UnsafeRawBufferPointer, _ context: OpaquePointer) -> Answer {
        guard let data = pcre2_match_data_create_8(1, nil) else { fatalError("out of memory") }
        defer { pcre2_match_data_free_8(data) }
        let start = text.baseAddress?.assumingMemoryBound(to: UInt8.self)
        // An empty text may have no address.
        let found = withUnsafePointer(to: UInt8(0)) { empty in
            pcre2_match_8(code, start ?? empty, text.count, 0, UInt32(PCRE2_NO_UTF_CHECK), data, context)
        }
        return found >= 0 ? .matches : found == PCRE2_ERROR_NOMATCH ? .differs : .gaveUp
    }

    /// ECMA-262 knows the general categories of Unicode by their long names too, PCRE2 by the short ones alone: `\p{Letter}` is `\p{L}`.
    private static func withShortCategories(_ text: [UInt8]) -> [UInt8] {
        guard text.contains(UInt8(ascii: "{")) else { return text }
        let pattern = String(decoding: text, as: UTF8.self)
        let replaced = pattern.replacing(/\\(?:[pP]\{(?:(?:gc|General_Category)=)?(?<name>[A-Za-z_]+)\}|.)/.dotMatchesNewlines()) { match in
            match.name.flatMap { categories[String($0)] }.map { "\(match.0.prefix(2)){\($0)}" } ?? String(match.0)
        }
        return Array(replaced.utf8)
    }

    /// Of UAX #44, table 12, and the aliases that ECMA-262 lists.
    private static let categories = [
        "Letter": "L", "Cased_Letter": "L&", "Uppercase_Letter": "Lu", "Lowercase_Letter": "Ll", "Titlecase_Letter": "Lt",
        "Modifier_Letter": "Lm", "Other_Letter": "Lo", "Mark": "M", "Combining_Mark": "M", "Nonspacing_Mark": "Mn", "Spacing_Mark": "Mc",
        "Enclosing_Mark": "Me", "Number": "N", "Decimal_Number": "Nd", "digit": "Nd", "Letter_Number": "Nl", "Other_Number": "No",
        "Punctuation": "P", "punct": "P", "Connector_Punctuation": "Pc", "Dash_Punctuation": "Pd", "Open_Punctuation": "Ps",
        "Close_Punctuation": "Pe", "Initial_Punctuation": "Pi", "Final_Punctuation": "Pf", "Other_Punctuation": "Po", "Symbol": "S",
        "Math_Symbol": "Sm", "Currency_Symbol": "Sc", "Modifier_Symbol": "Sk", "Other_Symbol": "So", "Separator": "Z",
        "Space_Separator": "Zs", "Line_Separator": "Zl", "Paragraph_Separator": "Zp", "Other": "C", "Control": "Cc", "cntrl": "Cc",
        "Format": "Cf", "Surrogate": "Cs", "Private_Use": "Co", "Unassigned": "Cn",
    ]
}
