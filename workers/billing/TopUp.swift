import ArgumentParser
import Billing

struct TopUp: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "topup", abstract: "Books a payment that was received outside, once for each reference.")

    @OptionGroup var payment: Payment
    @Option(help: "The payment's number where it was received, 1 to 128 characters.") var reference: String

    func validate() throws { try checkLength(reference, "--reference") }

    func run() throws {
        try withDatabase { database in
            try payment.post(.topup, key: "topup:manual:\(reference)", reference: reference, memo: "manual top-up", on: database)
        }
    }
}

struct Grant: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Gives a project credit, once for each key.")

    @OptionGroup var payment: Payment
    @Option(help: "Names the grant, such as grant:demo; 1 to 128 characters.") var key: String

    func validate() throws { try checkLength(key, "--key") }

    func run() throws {
        try withDatabase { database in try payment.post(.grant, key: key, reference: nil, memo: "grant", on: database) }
    }
}

private func checkLength(_ text: String, _ option: String) throws {
    guard (1...128).contains(text.count), !text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
        throw ValidationError("\(option): 1 to 128 printable characters are needed.")
    }
}
