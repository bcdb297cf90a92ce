use std::{fmt, str::FromStr};

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
        /// The network, as written.
        cidr: String,
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
    #[error("{0:?} is not CIDR:PORT, as in 203.0.113.0/24:443")]
    Cidr(String),
    /// Not a whole number of TALOS.
    #[error("{0:?} is not a whole number of TALOS")]
    Amount(String),
}

const NAMES: [&str; 8] = [
    "network_outbound",
    "network_outbound_ip",
    "read_ipfs",
    "write_ipfs",
    "publish_to_chain",
    "a2a_call",
    "deploy",
    "manage",
];

impl FromStr for Permission {
    type Err = PermissionError;

    fn from_str(text: &str) -> Result<Self, PermissionError> {
        let (name, value) = match text.split_once(':') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let plain = |known: &'static str, permission| match value {
            None => Ok(permission),
            Some(_) => Err(PermissionError::NoValue(known)),
        };
        let value_of = |known, shape| match value {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(PermissionError::Value(known, shape)),
        };
        match name {
            "network_outbound" => outbound(value_of("network_outbound", "network_outbound:HOST")?),
            "network_outbound_ip" => outbound_ip(value_of(
                "network_outbound_ip",
                "network_outbound_ip:203.0.113.0/24:443",
            )?),
            "read_ipfs" => plain("read_ipfs", Permission::ReadIpfs),
            "write_ipfs" => plain("write_ipfs", Permission::WriteIpfs),
            "publish_to_chain" => plain("publish_to_chain", Permission::PublishToChain),
            "a2a_call" => {
                Ok(Permission::CallAgent(value_of("a2a_call", "a2a_call:AGENT")?.to_owned()))
            }
            "manage" => Ok(Permission::Manage(value_of("manage", "manage:AGENT")?.to_owned())),
            "deploy" => {
                let value = value_of("deploy", "deploy:MAX_TALOS")?;
                let amount = value.parse().map_err(|_| PermissionError::Amount(cut(value)))?;
                Ok(Permission::Deploy(amount))
            }
            _ => Err(PermissionError::Unknown { found: cut(text), near: nearest(name) }),
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
    let (host, port) = match value.rsplit_once(':') {
        Some((host, port)) => (host, port_of(port)?),
        None => (value, 443),
    };
    Ok(Permission::NetworkOutbound { host: pattern(host)?, port })
}

fn outbound_ip(value: &str) -> Result<Permission, PermissionError> {
    let wrong = || PermissionError::Cidr(cut(value));
    let (cidr, port) = value.rsplit_once(':').ok_or_else(wrong)?;
    let (address, bits) = cidr.rsplit_once('/').ok_or_else(wrong)?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    let address: std::net::IpAddr = address.parse().map_err(|_| wrong())?;
    let bits: u8 = bits.parse().map_err(|_| wrong())?;
    if bits > if address.is_ipv4() { 32 } else { 128 } {
        return Err(wrong());
    }
    Ok(Permission::NetworkOutboundIp { cidr: cidr.to_owned(), port: port_of(port)? })
}

fn port_of(text: &str) -> Result<u16, PermissionError> {
    let canonical = !text.starts_with(['+', '0']);
    let port = text.parse().ok().filter(|port| canonical && *port > 0);
    port.ok_or_else(|| PermissionError::Port(cut(text)))
}

fn pattern(text: &str) -> Result<HostPattern, PermissionError> {
    let wrong = |why| PermissionError::Host { host: cut(text), why };
    let (below, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, text),
    };
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
    if labels.len() < 2 {
        return Err(wrong("a name has two or more labels"));
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
    Ok(HostPattern { name: name.to_owned(), below })
}

fn did_you_mean(near: &Option<&'static str>) -> String {
    near.map_or(String::new(), |near| format!(", did you mean {near}?"))
}

fn nearest(name: &str) -> Option<&'static str> {
    let distance = |known: &str| {
        let common = known.chars().filter(|c| name.contains(*c)).count();
        known.len().max(name.len()) - common.min(name.len())
    };
    let best = NAMES.into_iter().min_by_key(|known| distance(known))?;
    (distance(best) <= best.len() / 3).then_some(best)
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
            "read_ipfs:all",
            "deploy:-1",
            "deploy:lots",
        ] {
            assert!(text.parse::<Permission>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_named() {
        let error = "network_outbund:example.org".parse::<Permission>().unwrap_err();
        assert!(error.to_string().ends_with("did you mean network_outbound?"), "{error}");
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
