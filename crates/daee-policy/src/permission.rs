use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// One entry of the manifest's `permissions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// `network_outbound:HOST[:PORT]`: https to a name.
    NetworkOutbound {
        /// The name, or `*.` and a name.
        host: HostPattern,
        /// 443 unless named.
        port: u16,
    },
    /// `network_outbound_ip:CIDR:PORT`: an address, which also needs the operator's consent.
    NetworkOutboundIp {
        /// The network.
        cidr: Cidr,
        /// The port.
        port: u16,
    },
    /// `read_ipfs`.
    ReadIpfs,
    /// `write_ipfs`.
    WriteIpfs,
    /// `publish_to_chain`.
    PublishToChain,
    /// `a2a_call:AGENT`.
    CallAgent(String),
    /// `deploy:MAX_TALOS`.
    Deploy(u64),
    /// `manage:AGENT`.
    Manage(String),
}

/// A host name, or all names one or more labels below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    name: String,
    below: bool,
}

impl HostPattern {
    /// Whether a lower-case name without trailing dot is meant.
    pub fn matches(&self, host: &str) -> bool {
        if !self.below {
            return host == self.name;
        }
        host.strip_suffix(&self.name).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.below { "*." } else { "" }, self.name)
    }
}

/// A network of IP addresses, as `203.0.113.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    first: IpAddr,
    bits: u8,
}

impl Cidr {
    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && self.first_of(address) == self.first
    }

    fn first_of(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// Whether a text names an agent: two or more labels of a-z, 0-9 and inner hyphens, 128 bytes at most.
pub fn is_agent_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    text.len() <= 128 && text.contains('.') && text.split('.').all(label)
}

/// Why a permission is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PermissionError {
    /// No permission of that name.
    #[error("unknown permission {found:?}{}", did_you_mean(.near))]
    Unknown {
        /// What stood there.
        found: String,
        /// The nearest one there is.
        near: Option<&'static str>,
    },
    /// A value is needed, as in `network_outbound:HOST`.
    #[error("{0} needs a value: write {1}")]
    Value(&'static str, &'static str),
    /// A value is not wanted.
    #[error("{0} takes no value")]
    NoValue(&'static str),
    /// The host is not a name.
    #[error("{host:?} is not a host: {why}")]
    Host {
        /// As written.
        host: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The port is not a number from 1 to 65535.
    #[error("{0:?} is not a port: write a number from 1 to 65535")]
    Port(String),
    /// Not an IP network.
    #[error("{text:?} is not CIDR:PORT as in 203.0.113.0/24:443: {why}")]
    Cidr {
        /// As written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Not the name of an agent.
    #[error("{0:?} is not an agent's name: write it as in talos.oracle.price-eth, without version")]
    Agent(String),
    /// Not a whole number of TALOS.
    #[error("{0:?} is not a whole number of TALOS")]
    Amount(String),
}

/// A way to write a permission: the one list that parser, schema and documentation go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// What stands before the colon.
    pub name: &'static str,
    /// What stands behind it, as in `HOST[:PORT]`; `None` where there is no colon.
    pub value: Option<&'static str>,
    /// One that is written rightly.
    pub example: &'static str,
    /// A regular expression, of the kind that JSON Schema takes, that every such permission matches.
    pub pattern: &'static str,
    /// What it allows.
    pub allows: &'static str,
}

/// All forms, in the order in which they are told.
pub const FORMS: [Form; 8] = [
    Form {
        name: "network_outbound",
        value: Some("HOST[:PORT]"),
        example: "network_outbound:api.coingecko.com",
        pattern: concat!(
            r"^network_outbound:(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+",
            r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?(:[1-9][0-9]{0,4})?$"
        ),
        allows: "https to this name, on port 443 unless another is named",
    },
    Form {
        name: "network_outbound_ip",
        value: Some("CIDR:PORT"),
        example: "network_outbound_ip:203.0.113.0/24:443",
        pattern: r"^network_outbound_ip:[0-9a-fA-F.:]+/(0|[1-9][0-9]{0,2}):[1-9][0-9]{0,4}$",
        allows: "these addresses; nothing, until the node's operator consents, too",
    },
    Form {
        name: "read_ipfs",
        value: None,
        example: "read_ipfs",
        pattern: "^read_ipfs$",
        allows: "reading content by CID",
    },
    Form {
        name: "write_ipfs",
        value: None,
        example: "write_ipfs",
        pattern: "^write_ipfs$",
        allows: "writing content",
    },
    Form {
        name: "publish_to_chain",
        value: None,
        example: "publish_to_chain",
        pattern: "^publish_to_chain$",
        allows: "publishing values to the outbox contract",
    },
    Form {
        name: "a2a_call",
        value: Some("AGENT"),
        example: "a2a_call:talos.oracle.price-eth",
        pattern: r"^a2a_call:[a-z0-9-]+(\.[a-z0-9-]+)+$",
        allows: "calling this agent, named without version",
    },
    Form {
        name: "deploy",
        value: Some("MAX_TALOS"),
        example: "deploy:50",
        pattern: "^deploy:(0|[1-9][0-9]{0,19})$",
        allows: "deploying other agents for up to so many whole TALOS",
    },
    Form {
        name: "manage",
        value: Some("AGENT"),
        example: "manage:talos.oracle.price-eth",
        pattern: r"^manage:[a-z0-9-]+(\.[a-z0-9-]+)+$",
        allows: "status, logs, stop and update of this agent",
    },
];

impl FromStr for Permission {
    type Err = PermissionError;

    fn from_str(text: &str) -> Result<Self, PermissionError> {
        let (name, value) = match text.split_once(':') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let Some(form) = FORMS.iter().find(|form| form.name == name) else {
            return Err(PermissionError::Unknown { found: cut(text), near: nearest(name) });
        };
        let value = match (form.value, value) {
            (None, None) => "",
            (None, Some(_)) => return Err(PermissionError::NoValue(form.name)),
            (Some(_), Some(value)) if !value.is_empty() => value,
            (Some(_), _) => return Err(PermissionError::Value(form.name, form.example)),
        };
        match form.name {
            "network_outbound" => outbound(value),
            "network_outbound_ip" => outbound_ip(value),
            "read_ipfs" => Ok(Permission::ReadIpfs),
            "write_ipfs" => Ok(Permission::WriteIpfs),
            "publish_to_chain" => Ok(Permission::PublishToChain),
            "a2a_call" => agent(value).map(Permission::CallAgent),
            "manage" => agent(value).map(Permission::Manage),
            _ => {
                let amount = canonical(value).ok_or_else(|| PermissionError::Amount(cut(value)))?;
                Ok(Permission::Deploy(amount))
            }
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NetworkOutbound { host, port: 443 } => write!(f, "network_outbound:{host}"),
            Self::NetworkOutbound { host, port } => write!(f, "network_outbound:{host}:{port}"),
            Self::NetworkOutboundIp { cidr, port } => {
                write!(f, "network_outbound_ip:{cidr}:{port}")
            }
            Self::ReadIpfs => f.write_str("read_ipfs"),
            Self::WriteIpfs => f.write_str("write_ipfs"),
            Self::PublishToChain => f.write_str("publish_to_chain"),
            Self::CallAgent(agent) => write!(f, "a2a_call:{agent}"),
            Self::Deploy(most) => write!(f, "deploy:{most}"),
            Self::Manage(agent) => write!(f, "manage:{agent}"),
        }
    }
}

fn outbound(value: &str) -> Result<Permission, PermissionError> {
    let wrong = |why| PermissionError::Host { host: cut(value), why };
    if value.contains("://") {
        return Err(wrong("leave the scheme out, only https is spoken"));
    }
    if value.contains('/') {
        return Err(wrong("leave the path out"));
    }
    if value.contains('@') {
        return Err(wrong("leave the user out"));
    }
    if value.starts_with('[') {
        return Err(wrong("addresses need network_outbound_ip"));
    }
    let (host, port) = match value.rsplit_once(':') {
        Some((host, port)) => (host, port_of(port)?),
        None => (value, 443),
    };
    Ok(Permission::NetworkOutbound { host: pattern(host)?, port })
}

fn outbound_ip(value: &str) -> Result<Permission, PermissionError> {
    let wrong = |why| PermissionError::Cidr { text: cut(value), why };
    let (network, port) = value.rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?;
    let (address, bits) =
        network.rsplit_once('/').ok_or_else(|| wrong("write one address as ADDRESS/32"))?;
    let first: IpAddr = address.parse().map_err(|_| wrong("its address is not one"))?;
    let bits = canonical::<u8>(bits)
        .filter(|bits| *bits <= if first.is_ipv4() { 32 } else { 128 })
        .ok_or_else(|| wrong("its bits are no number up to 32, or 128 for IPv6"))?;
    let cidr = Cidr { first, bits };
    if cidr.first_of(first) != first {
        return Err(wrong("the address is not the first of its network"));
    }
    Ok(Permission::NetworkOutboundIp { cidr, port: port_of(port)? })
}

fn port_of(text: &str) -> Result<u16, PermissionError> {
    canonical(text).filter(|port| *port > 0).ok_or_else(|| PermissionError::Port(cut(text)))
}

/// A number in the one way to write it: no sign, no zeros in front.
fn canonical<T: FromStr>(text: &str) -> Option<T> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

fn agent(text: &str) -> Result<String, PermissionError> {
    is_agent_name(text).then(|| text.to_owned()).ok_or_else(|| PermissionError::Agent(cut(text)))
}

fn pattern(text: &str) -> Result<HostPattern, PermissionError> {
    let wrong = |why| PermissionError::Host { host: cut(text), why };
    let (below, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, text),
    };
    if name == "*" {
        return Err(wrong("name each host: there is no permission for all"));
    }
    if name.contains('*') {
        return Err(wrong("a star stands for whole labels, at the start"));
    }
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(wrong("write it in lower case"));
    }
    if name.ends_with('.') {
        return Err(wrong("leave the dot at the end out"));
    }
    if name.len() > 253 {
        return Err(wrong("it is longer than 253 bytes"));
    }
    let labels: Vec<&str> = name.split('.').collect();
    let label = |l: &&str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if !labels.iter().all(label) {
        return Err(wrong(
            "labels are letters, digits and inner hyphens; write other scripts as xn--",
        ));
    }
    // Names whose last label is a number are read as addresses by URL parsers: 127.1, 0x7f.1.
    if labels.last().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit())) {
        return Err(wrong("addresses need network_outbound_ip"));
    }
    if below && psl::domain(name.as_bytes()).is_none() {
        return Err(wrong(
            "a star is allowed only below a registrable domain, as in *.example.org",
        ));
    }
    if labels.len() < 2 {
        return Err(wrong("a name has two or more labels"));
    }
    Ok(HostPattern { name: name.to_owned(), below })
}

fn did_you_mean(near: &Option<&'static str>) -> String {
    near.map_or(String::new(), |near| format!(", did you mean {near}?"))
}

fn nearest(name: &str) -> Option<&'static str> {
    let written = cut(name).to_lowercase();
    let distance = |known: &&str| strsim::osa_distance(&written, known);
    let best = FORMS.iter().map(|form| form.name).min_by_key(distance)?;
    (distance(&best) <= best.len() / 3).then_some(best)
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_permissions_of_tip_0042_are_permissions() {
        for text in ["network_outbound:api.coingecko.com", "read_ipfs", "publish_to_chain"] {
            assert_eq!(text.parse::<Permission>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        for text in [
            "network_outbound:api.example.org:8443",
            "network_outbound:*.example.co.uk",
            "network_outbound_ip:203.0.113.0/24:443",
            "network_outbound_ip:0.0.0.0/0:443",
            "network_outbound_ip:2001:db8::/32:443",
            "network_outbound_ip:2001:db8::1/128:443",
            "write_ipfs",
            "a2a_call:talos.oracle.price-eth",
            "deploy:50",
            "manage:talos.oracle.price-eth",
        ] {
            assert_eq!(text.parse::<Permission>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "network",
            "network_outbound",
            "network_outbound:",
            "network_outbound:localhost",
            "network_outbound:*",
            "network_outbound:*.com",
            "network_outbound:*.co.uk",
            "network_outbound:*.github.io",
            "network_outbound:a.*.example.org",
            "network_outbound:*example.org",
            "network_outbound:API.example.org",
            "network_outbound:example.org.",
            "network_outbound:example..org",
            "network_outbound:-a.example.org",
            "network_outbound:127.0.0.1",
            "network_outbound:127.1",
            "network_outbound:2130706433",
            "network_outbound:0x7f.1",
            "network_outbound:[::1]",
            "network_outbound:example.org:0",
            "network_outbound:example.org:65536",
            "network_outbound:example.org:+443",
            "network_outbound:https://example.org",
            "network_outbound:example.org/path",
            "network_outbound: example.org",
            "network_outbound:ex\u{430}mple.org",
            "network_outbound_ip:10.0.0.0/33:1",
            "network_outbound_ip:10.0.0.1:1",
            "network_outbound_ip:10.0.0.1/8:1",
            "network_outbound_ip:10.0.0.0/08:1",
            "network_outbound_ip:10.0.0.0/8",
            "network_outbound_ip:[2001:db8::]/32:443",
            "network_outbound_ip:example.org/8:443",
            "network_outbound:*.s3.amazonaws.com",
            "network_outbound:*.*.example.org",
            "network_outbound:example.org:",
            "network_outbound:example.org:0443",
            "network_outbound:example.org:443:443",
            "network_outbound:user@example.org",
            "network_outbound:ex_ample.org",
            "NETWORK_OUTBOUND:example.org",
            "a2a_call:",
            "a2a_call:price",
            "a2a_call:talos.oracle.price-eth@v1.2.0",
            "manage:*",
            "deploy:+5",
            "deploy:05",
            "deploy:1.5",
            "read_ipfs:all",
            "deploy:-1",
            "deploy:lots",
        ] {
            assert!(text.parse::<Permission>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_named() {
        let said = |text: &str| text.parse::<Permission>().unwrap_err().to_string();
        assert!(said("network_outbund:a.org").ends_with("did you mean network_outbound?"));
        assert!(said("raed_ipfs").ends_with("did you mean read_ipfs?"));
        assert_eq!(said("files"), "unknown permission \"files\"");
        assert!(said(&"x".repeat(60_000)).len() < 200);
    }

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        let held = |permission: &str, address: &str| {
            let Ok(Permission::NetworkOutboundIp { cidr, .. }) = permission.parse() else {
                panic!("{permission} is an address permission")
            };
            cidr.contains(address.parse().unwrap())
        };
        assert!(held("network_outbound_ip:203.0.113.0/24:443", "203.0.113.255"));
        assert!(!held("network_outbound_ip:203.0.113.0/24:443", "203.0.114.0"));
        assert!(!held("network_outbound_ip:203.0.113.0/24:443", "::ffff:203.0.113.1"));
        assert!(held("network_outbound_ip:0.0.0.0/0:443", "8.8.8.8"));
        assert!(!held("network_outbound_ip:0.0.0.0/0:443", "2606:4700::1"));
        assert!(held("network_outbound_ip:2001:db8::/32:443", "2001:db8:ffff::1"));
        assert!(!held("network_outbound_ip:2001:db8::1/128:443", "2001:db8::2"));
    }

    proptest::proptest! {
        /// A permission has one spelling, or two where the port is the usual one.
        #[test]
        fn what_parses_is_written_back_as_it_was(
            text in "(network_outbound|network_outbound_ip|deploy|manage|read_ipfs)(:[a-z0-9.*:/-]{0,20})?"
        ) {
            if let Ok(permission) = text.parse::<Permission>() {
                let written = permission.to_string();
                let same = written == text || format!("{written}:443") == text;
                proptest::prop_assert!(same || text.contains("_ip:"), "{text} becomes {written}");
                proptest::prop_assert_eq!(written.parse::<Permission>(), Ok(permission));
            }
        }
    }

    #[test]
    fn a_star_means_names_below_and_not_the_name_itself() {
        let star = pattern("*.example.org").unwrap();
        assert!(star.matches("a.example.org") && star.matches("a.b.example.org"));
        for not in ["example.org", "aexample.org", ".example.org", "example.org.evil.net"] {
            assert!(!star.matches(not), "{not}");
        }
    }
}
