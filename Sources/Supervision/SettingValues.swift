/// Typed values of variables.
struct SettingValues {
    private let values: [String: String]

    init(_ values: [String: String]) { self.values = values }

    subscript(_ variable: String) -> String? { values[variable] }

    func refuse(_ variable: String, _ why: String) throws {
        if values[variable] != nil { throw SettingError(variable, why) }
    }

    /// - Parameter auto: the word `auto` is the same as nothing.
    func integer(_ variable: String, _ range: ClosedRange<Int>, auto: Bool = false) throws -> Int? {
        guard let text = values[variable], !(auto && text == "auto") else { return nil }
        guard let number = Int(text), range.contains(number) else {
            throw SettingError(variable, "must be an integer from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    func choice<Choice: RawRepresentable<String> & CaseIterable>(_ variable: String) throws -> Choice? {
        guard let text = values[variable] else { return nil }
        guard let choice = Choice(rawValue: text) else {
            throw SettingError(variable, "must be one of \(Choice.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return choice
    }

    func flag(_ variable: String) throws -> Bool {
        switch values[variable]?.lowercased() {
        case nil, "0", "false", "no", "off": false
        case "1", "true", "yes", "on": true
        default: throw SettingError(variable, "must be 0 or 1")
        }
    }

    func words(_ variable: String) -> [String] { values[variable]?.split(separator: " ").map(String.init) ?? [] }

    /// A part of the whole; above 1 it is a percentage.
    func part(_ variable: String) throws -> Double? {
        guard let text = values[variable] else { return nil }
        guard let number = Double(text), number > 0, number <= 100 else {
            throw SettingError(variable, "must be above 0 and at most 1, or a percentage")
        }
        return number > 1 ? number / 100 : number
    }
}
