import Accounts
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
            let project = try database.withConnection { try $0.requireProject(slug: payment.project) }
            let (order, isNew) = try TopUps(database: database).book(payment.amount, to: project, reference: reference, by: "billing")
            let amount = "\(NanoUSD.text(order.amount)) USD"
            print(
                "\(isNew ? "posted" : "already posted"): topup of \(amount) to \(payment.project),"
                    + " transaction \(order.transactionID ?? ""), order \(order.id)")
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
