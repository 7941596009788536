import OpenAI
import Storage
import Testing

@Suite struct FileRulesTests {
    @Test(arguments: [
        ("a.txt", "a.txt"), ("/etc/passwd", "passwd"), ("../../a", "a"), (#"C:\dir\a.txt"#, "a.txt"), ("naïve ☃", "naïve ☃"),
        ("..a", "..a"),
    ]) func aFilenameIsTheLastPartOfAPath(given: String, name: String) throws { #expect(try FileRules.filename(given) == name) }

    @Test(arguments: ["", "/", "..", "a/..", "a/.", "a\u{0}b", "a\nb", "a\u{7F}", "a\u{85}", String(repeating: "é", count: 128)])
    func badFilenamesAreRefused(given: String) { #expect(throws: APIError.self) { try FileRules.filename(given) } }

    @Test(arguments: ["a", "a/b/c.txt", "a b/ü", "...", "a..b"]) func relativePathsStayAsTheyAre(path: String) throws {
        #expect(try FileRules.relativePath(path) == path)
    }

    @Test(arguments: [
        "", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/..", "./a", #"a\b"#, "a\u{0}", String(repeating: "a/", count: 600) + "b",
    ])
    func pathsThatLeadElsewhereAreRefused(path: String) {
        #expect { try FileRules.relativePath(path) } throws: { ($0 as? APIError)?.code == .invalidPath }
    }

    @Test func thePurposeIsOneOfThoseThatClientsMayGive() throws {
        for name in FileRules.purposes { #expect(try FileRules.purpose(name) == name) }
        for name in ["", "Batch", "assistants_output", "batch_output", "fine-tune-results", "nothing"] {
            #expect { try FileRules.purpose(name) } throws: {
                ($0 as? APIError)?.code == .invalidValue && ($0 as? APIError)?.param == "purpose"
            }
        }
    }

    @Test func aLifetimeHasAnAnchorAndSeconds() throws {
        #expect(try FileRules.lifetime(anchor: nil, seconds: nil) == nil)
        #expect(try FileRules.lifetime(anchor: "created_at", seconds: "3600") == 3_600)
        #expect(try FileRules.lifetime(anchor: "created_at", seconds: "2592000") == 2_592_000)
        for (anchor, seconds) in [
            ("created_at", nil), (nil, "3600"), ("last_active_at", "3600"), ("created_at", "3599"), ("created_at", "2592001"),
            ("created_at", "1e5"), ("created_at", ""),
        ] as [(String?, String?)] {
            #expect(throws: APIError.self) { try FileRules.lifetime(anchor: anchor, seconds: seconds) }
        }
    }
}

@Suite struct ByteRangeTests {
    @Test(arguments: [
        ("bytes=0-9", 0..<10), ("bytes=5-", 5..<100), ("bytes=-10", 90..<100), ("bytes=-1000", 0..<100), ("bytes=99-99", 99..<100),
        ("bytes=0-99999999999999999999999", 0..<100), ("Bytes=0-0", 0..<1),
    ]) func oneRangeIsTaken(header: String, range: Range<Int>) throws { #expect(try ByteRange.parse(header, of: 100) == range) }

    @Test(arguments: [
        nil, "", "bytes", "bytes=", "bytes=-", "bytes=9-5", "bytes=a-b", "bytes=1-2,4-5", "lines=1-2", "bytes=+1-2", "bytes= 1-2",
    ])
    func whatIsNoRangeIsIgnored(header: String?) throws { #expect(try ByteRange.parse(header, of: 100) == nil) }

    @Test(arguments: ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999999-"]) func aRangeBehindTheEndIs416(
        header: String
    ) {
        #expect {
            try ByteRange.parse(header, of: 100)
        } throws: { error in
            (error as? APIError)?.code == .rangeNotSatisfiable && (error as? APIError)?.headers.first?.value == "bytes */100"
        }
    }
}
