import Foundation
import Inference
import OpenAI
import Testing

@Suite struct ContentPartsTests {
    private func part(_ json: String) -> String { messages(#"{"role":"user","content":[\#(json)]}"#) }

    private func image(_ url: String, _ more: String = "") -> String {
        part(#"{"type":"image_url","image_url":{"url":"\#(url)"\#(more)}}"#)
    }

    /// Base64 of so many zero bytes.
    private func zeros(_ count: Int) -> String { Data(count: count).base64EncodedString() }

    @Test func anImageOfTwentyMebibytesPassesAndAByteMoreDoesNot() throws {
        #expect(refusal(image("data:image/png;base64,\(zeros(20 << 20))")) == nil)
        let error = try #require(refusal(image("data:image/png;base64,\(zeros((20 << 20) + 1))")))
        #expect(error.code.status == 400 && error.param == "messages[0].content[0].image_url.url")
    }

    @Test(arguments: [
        "data:image/png;base64,", "data:image/png;base64,A", "data:image/png;base64,AAA*", "data:image/png;base64,AA=A",
        "data:image/png;base64,AAAA====", "data:image/png;base64,AA AA==", "data:image/png;base64,A===",
    ])
    func whatIsNoBase64IsRefused(url: String) throws {
        #expect(try #require(refusal(image(url))).param == "messages[0].content[0].image_url.url")
    }

    @Test(arguments: [
        "data:text/plain;base64,AAAA", "data:image/png,AAAA", "data:image/png;base64", "file:///etc/passwd", "ftp://a/b",
        "x-xerotier-image:req_1:0:",
        "HTTPS", "",
    ])
    func whatIsNeitherAnImageNorAnAddressIsUnsupported(url: String) throws {
        #expect(try #require(refusal(image(url))).code == .unsupportedContent)
    }

    @Test func addressesAreKeptWithTheirPlaces() throws {
        let request = try chatRequest(
            messages(
                #"""
                {"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"https://a.example/\u00e4.png","detail":"low"}}]},
                {"role":"user","content":[{"type":"image_url","image_url":{"url":"http://b.example/b"}}]}
                """#))
        #expect(
            request.parts.remoteImages == [
                RemoteImage(url: "https://a.example/ä.png", param: "messages[0].content[1].image_url.url"),
                RemoteImage(url: "http://b.example/b", param: "messages[1].content[0].image_url.url"),
            ])
    }

    @Test func twentyImagesAreTheMost() {
        let one = #"{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}"#
        func list(_ count: Int) -> String { part(Array(repeating: one, count: count).joined(separator: ",")) }
        #expect(refusal(list(20)) == nil && refusal(list(21))?.param == "messages[0].content[20].image_url")
    }

    @Test(arguments: [
        (#"{"type":"image_url","image_url":"https://a"}"#, "image_url"), (#"{"type":"image_url"}"#, "image_url"),
        (#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA","detail":"sharp"}}"#, "image_url.detail"),
        (#"{"type":"input_audio","input_audio":{"data":"AAAA"}}"#, "input_audio"),
        (#"{"type":"input_audio","input_audio":{"data":"AAAA","format":"ogg"}}"#, "input_audio.format"),
        (#"{"type":"input_audio","input_audio":{"data":"A","format":"wav"}}"#, "input_audio.data"),
        (#"{"type":"file"}"#, "file"), (#"{"type":"file","file":{}}"#, "file"), (#"{"type":"file","file":{"file_id":7}}"#, "file.file_id"),
        (#"{"type":"file","file":{"file_data":"*"}}"#, "file.file_data"),
    ])
    func aWrongPartIsRefusedByName(json: String, member: String) throws {
        let error = try #require(refusal(part(json)))
        #expect(error.code.status == 400 && error.param == "messages[0].content[0].\(member)")
    }

    @Test func aFileOfAnotherIsNotFound() throws {
        let error = try #require(refusal(part(#"{"type":"file","file":{"file_id":"file-abc"}}"#)))
        #expect(error.code == .fileNotFound && error.code.status == 404 && error.param == "messages[0].content[0].file.file_id")
    }

    @Test func soundAndFilesInTheRequestPass() {
        #expect(refusal(part(#"{"type":"input_audio","input_audio":{"data":"AAAA","format":"mp3"}}"#)) == nil)
        #expect(refusal(part(#"{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,AAAA"}}"#)) == nil)
    }
}
