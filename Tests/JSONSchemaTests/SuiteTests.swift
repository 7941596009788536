import Foundation
import JSON
import JSONSchema
import Testing

/// The official suite for draft 2020-12, of data that lies beside the project: JSON-Schema-Test-Suite.
@Suite struct SuiteTests {
    static let suite =
        (ProcessInfo.processInfo.environment["XEROTIER_SHARED"] ?? "../shared") + "/data/JSON-Schema-Test-Suite"

    static let parser = {
        var limits = JSONLimits()
        limits.allowsAnyText = true
        return JSONParser(limits: limits)
    }()

    static func read(_ path: String) -> JSONValue? {
        FileManager.default.contents(atPath: path).flatMap { try? parser.parse(Array($0), JSONValue.init) }
    }

    /// The suite's server of documents.
    static func document(_ uri: String) -> JSONValue? {
        uri.hasPrefix("http://localhost:1234/") ? read("\(suite)/remotes/\(uri.dropFirst("http://localhost:1234/".count))") : nil
    }

    static let files =
        ((try? FileManager.default.contentsOfDirectory(atPath: "\(suite)/tests/draft2020-12")) ?? []).filter { $0.hasSuffix(".json") }
        .sorted()

    @Test(.enabled(if: !files.isEmpty, "JSON-Schema-Test-Suite is not there"), arguments: files)
    func everyCaseIsDecidedAsTheSuiteSays(file: String) throws {
        let bytes = try #require(FileManager.default.contents(atPath: "\(Self.suite)/tests/draft2020-12/\(file)"))
        try Self.parser.parse(Array(bytes)) { groups in
            for group in groups.elements {
                let name = "\(group["description"]?.string ?? "")"
                let schema: JSONSchema
                do {
                    schema = try JSONSchema(JSONValue(try #require(group["schema"])), document: Self.document)
                } catch {
                    Issue.record("\(file): \(name): \(error)")
                    continue
                }
                for test in try #require(group["tests"]).elements {
                    let violation = try schema.violation(in: try #require(test["data"]))
                    #expect((violation == nil) == (test["valid"]?.bool == true), "\(name): \(test["description"]?.string ?? "")")
                }
            }
        }
    }
}
