/// The vendor's names. Nothing else in the code spells them.
public enum Vendor {
    /// Prefix of an API key: `xero_<project slug>_<43 characters>`.
    public static let keyPrefix = "xero_"
    /// Prefix of a join key: `xjk_<project slug>_<43 characters>`.
    public static let joinKeyPrefix = "xjk_"
    /// Prefix of vendor members in requests and error envelopes.
    public static let memberPrefix = "x_"
    /// Prefix of vendor HTTP headers, in HTTP spelling.
    public static let headerPrefix = "X-Xerotier-"
    /// Prefix of environment variables.
    public static let environmentPrefix = "XEROTIER_"
    /// Prefix of Redis keys and channels.
    public static let redisPrefix = "xerotier:"
    /// Prefix of metric names.
    public static let metricPrefix = "xerotier_"
}
