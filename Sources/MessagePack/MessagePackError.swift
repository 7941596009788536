/// Why bytes are not the one MessagePack value that they should be. The offset is the place of the value at fault, from 0.
public enum MessagePackError: Error, Equatable, Sendable {
    /// The bytes end inside of the value, or a length says that there are more than there are.
    case truncated(offset: Int)
    /// Bytes follow the value.
    case trailingBytes(offset: Int)
    /// A first byte that nothing begins with (0xc1), or an extension type.
    case unknownType(UInt8, offset: Int)
    case invalidUTF8(offset: Int)
    /// A key that is no text.
    case keyIsNoText(offset: Int)
    case duplicateKey(offset: Int)
    case tooDeep(offset: Int)
    case tooManyValues(offset: Int)
}
